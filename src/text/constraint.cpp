#include "text/constraint.h"

#include <boost/json.hpp>

#include "base/check.h"
#include "text/rust_result.h"

namespace pagoda {

namespace {

// Measured, rounded up: llguidance keeps several tries over the vocabulary.
constexpr uint64_t kFactoryBytesPerToken = 280;
constexpr uint64_t kFactoryBytesPerByte = 72;

PgConstraintKind abi_kind(ConstraintSource::Kind kind) {
  switch (kind) {
    case ConstraintSource::Kind::json_schema:
      return kPgJsonSchema;
    case ConstraintSource::Kind::regex:
      return kPgRegex;
    case ConstraintSource::Kind::choice:
      return kPgChoice;
    case ConstraintSource::Kind::grammar:
      break;
  }
  return kPgGrammar;
}

}  // namespace

std::string lark_literal(std::string_view text) {
  return boost::json::serialize(boost::json::value(text));
}

std::string lark_json(std::string_view schema_json) {
  std::string json = fmt::format("%json {}", schema_json);
  // "::=" is how GBNF is told from Lark; in JSON it can only stand in a string.
  for (size_t at = json.find("::="); at != std::string::npos; at = json.find("::=", at))
    json.replace(at, 1, "\\u003a");
  return json;
}

std::string lark_pattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\/.^$|?*+()[]{}").contains(c)) out += '\\';
    out += c;
  }
  return out;
}

struct Constraint::Handle {
  PgConstraint* constraint = nullptr;

  ~Handle() { pg_constraint_free(constraint); }
};

Constraint::Constraint(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Constraint::Constraint(Constraint&&) noexcept = default;
Constraint& Constraint::operator=(Constraint&&) noexcept = default;
Constraint::~Constraint() = default;

Result<Constraint> Constraint::clone() const {
  auto handle = std::make_unique<Handle>();
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(pg_constraint_clone(handle_->constraint, &handle->constraint, &error), error));
  Constraint copy(std::move(handle));
  copy.finished_ = finished_;
  return copy;
}

Status Constraint::fill_mask(std::span<uint32_t> words) {
  PgBuf error;
  return to_status(pg_constraint_mask(handle_->constraint, words.data(), words.size(), &error), error);
}

Result<bool> Constraint::allows(TokenId token) {
  if (token < 0) return false;
  uint8_t allowed = 0;
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(
      pg_constraint_allows(handle_->constraint, static_cast<uint32_t>(token), &allowed, &error), error));
  return allowed != 0;
}

Status Constraint::consume(TokenId token) {
  PAGODA_CHECK(token >= 0 && !finished_, "token {}", token);
  uint8_t finished = 0;
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(
      pg_constraint_consume(handle_->constraint, static_cast<uint32_t>(token), &finished, &error), error));
  finished_ = finished != 0;
  return {};
}

Status Constraint::rollback(int64_t num_tokens) {
  PAGODA_CHECK(num_tokens >= 0, "{} tokens", num_tokens);
  PgBuf error;
  PAGODA_TRY_STATUS(
      to_status(pg_constraint_rollback(handle_->constraint, static_cast<size_t>(num_tokens), &error), error));
  if (num_tokens > 0) finished_ = false;
  return {};
}

Result<bool> Constraint::is_accepting() {
  uint8_t accepting = 0;
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(pg_constraint_accepting(handle_->constraint, &accepting, &error), error));
  return accepting != 0;
}

struct ConstraintFactory::Handle {
  PgConstraintFactory* factory = nullptr;

  ~Handle() { pg_constraint_factory_free(factory); }
};

ConstraintFactory::ConstraintFactory(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
ConstraintFactory::ConstraintFactory(ConstraintFactory&&) noexcept = default;
ConstraintFactory& ConstraintFactory::operator=(ConstraintFactory&&) noexcept = default;
ConstraintFactory::~ConstraintFactory() = default;

uint64_t ConstraintFactory::memory_bytes(const Tokenizer& tokenizer) {
  const int64_t num_tokens = tokenizer.vocab_size();
  std::string bytes;
  for (TokenId token = 0; token < num_tokens; ++token) tokenizer.append_bytes(token, bytes);
  return static_cast<uint64_t>(num_tokens) * kFactoryBytesPerToken + bytes.size() * kFactoryBytesPerByte;
}

Result<ConstraintFactory> ConstraintFactory::create(const Tokenizer& tokenizer,
                                                    std::span<const TokenId> end_tokens) {
  const auto num_tokens = static_cast<TokenId>(tokenizer.vocab_size());
  std::string bytes;
  std::vector<uint32_t> token_ends;
  std::vector<uint8_t> special;
  token_ends.reserve(static_cast<size_t>(num_tokens));
  special.reserve(static_cast<size_t>(num_tokens));
  for (TokenId token = 0; token < num_tokens; ++token) {
    tokenizer.append_bytes(token, bytes);
    token_ends.push_back(static_cast<uint32_t>(bytes.size()));
    special.push_back(tokenizer.is_special(token) ? 1 : 0);
  }
  std::vector<uint32_t> ends;
  for (const TokenId token : end_tokens)
    if (token >= 0 && token < num_tokens) ends.push_back(static_cast<uint32_t>(token));
  const PgTokenTable table = {bytes.data(), token_ends.data(), special.data(), token_ends.size()};
  auto handle = std::make_unique<Handle>();
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(
      pg_constraint_factory_new(&table, ends.data(), ends.size(), &handle->factory, &error), error));
  return ConstraintFactory(std::move(handle));
}

Result<std::shared_ptr<const CompiledConstraint>> ConstraintFactory::compile(
    const ConstraintSource& source) const {
  const PgConstraintSource borrowed = {
      .kind = abi_kind(source.kind),
      .text = borrow(source.text),
      .whitespace_pattern = borrow(source.whitespace_pattern),
      .compact_json = source.whitespace == ConstraintSource::Whitespace::none ? uint8_t{1} : uint8_t{0},
  };
  auto handle = std::make_unique<Constraint::Handle>();
  PgBuf error;
  PAGODA_TRY_STATUS(
      to_status(pg_constraint_compile(handle_->factory, &borrowed, &handle->constraint, &error), error));
  return std::make_shared<const CompiledConstraint>(Constraint(std::move(handle)));
}

ConstraintCompiler::ConstraintCompiler(const Tokenizer& tokenizer, std::vector<TokenId> end_tokens)
    : factory_(std::async(std::launch::async, [&tokenizer, end_tokens = std::move(end_tokens)] {
                 return ConstraintFactory::create(tokenizer, end_tokens);
               }).share()) {}

Result<std::shared_ptr<const CompiledConstraint>> ConstraintCompiler::compile(
    const ConstraintSource& source) const {
  const Result<ConstraintFactory>& factory = factory_.get();
  if (!factory) return std::unexpected(factory.error());
  return factory->compile(source);
}

}  // namespace pagoda
