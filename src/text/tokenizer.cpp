#include "text/tokenizer.h"

#include <boost/json.hpp>

#include "text/rust_result.h"

namespace pagoda {

namespace {

struct FreeTokenizer {
  void operator()(PgTokenizer* tokenizer) const { pg_tokenizer_free(tokenizer); }
};
using TokenizerHandle = std::unique_ptr<PgTokenizer, FreeTokenizer>;

struct SpecialIds {
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId pad = -1;
  bool adds_bos = false;
};

class RustTokenizer final : public Tokenizer {
 public:
  explicit RustTokenizer(TokenizerHandle handle)
      : handle_(std::move(handle)), table_(pg_tokenizer_table(handle_.get())) {}
  void set_special_ids(const SpecialIds& ids) { ids_ = ids; }

  int64_t vocab_size() const override { return static_cast<int64_t>(table_.num_tokens); }
  Result<std::vector<TokenId>> encode(std::string_view text, Specials specials) const override;
  void append_bytes(TokenId id, std::string& out) const override;
  bool is_special(TokenId id) const override { return has(id) && table_.special[id] != 0; }
  TokenId bos_id() const override { return ids_.bos; }
  TokenId eos_id() const override { return ids_.eos; }
  TokenId pad_id() const override { return ids_.pad; }
  bool adds_bos() const override { return ids_.adds_bos; }
  std::string token_text(TokenId id) const override;
  TokenId find_token(std::string_view text) const override;

 private:
  bool has(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < table_.num_tokens; }

  TokenizerHandle handle_;
  PgTokenTable table_;
  SpecialIds ids_;
};

Result<std::vector<TokenId>> RustTokenizer::encode(std::string_view text, Specials specials) const {
  PgIds ids;
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(
      pg_tokenizer_encode(handle_.get(), borrow(text), specials == Specials::as_text ? 1 : 0, &ids, &error),
      error));
  std::vector<TokenId> copied(ids.data, ids.data + ids.len);
  pg_ids_free(ids);
  return copied;
}

void RustTokenizer::append_bytes(TokenId id, std::string& out) const {
  if (!has(id)) return;
  const uint32_t begin = id == 0 ? 0 : table_.ends[id - 1];
  out.append(table_.bytes + begin, table_.ends[id] - begin);
}

std::string RustTokenizer::token_text(TokenId id) const {
  if (!has(id)) return "";
  PgBuf text;
  PgBuf error;
  if (!to_status(pg_tokenizer_token_text(handle_.get(), static_cast<uint32_t>(id), &text, &error), error))
    return "";
  return take(text);
}

TokenId RustTokenizer::find_token(std::string_view text) const {
  int64_t id = -1;
  PgBuf error;
  if (!to_status(pg_tokenizer_find(handle_.get(), borrow(text), &id, &error), error)) return -1;
  return static_cast<TokenId>(id);
}

Status check_special_ids(const VocabularySpec& spec) {
  const std::pair<const char*, TokenId> ids[] = {
      {"bos", spec.bos_id}, {"eos", spec.eos_id}, {"unk", spec.unk_id}, {"pad", spec.pad_id}};
  for (const auto& [name, id] : ids)
    if (id < -1 || (id >= 0 && static_cast<size_t>(id) >= spec.tokens.size()))
      return fail(ErrorCode::corrupt, "the {} token's id {} is outside the vocabulary of {} tokens", name, id,
                  spec.tokens.size());
  return {};
}

// The text of a token in tokenizer_config.json: a string, or an object with the member "content".
TokenId find_configured(const Tokenizer& tokenizer, const boost::json::object& config, std::string_view key) {
  const boost::json::value* value = config.if_contains(key);
  if (value != nullptr && value->is_object()) value = value->as_object().if_contains("content");
  if (value == nullptr || !value->is_string()) return -1;
  return tokenizer.find_token(value->as_string());
}

Result<SpecialIds> read_config(const Tokenizer& tokenizer, std::string_view config_json) {
  SpecialIds ids;
  if (config_json.empty()) return ids;
  boost::system::error_code error;
  const boost::json::value parsed = boost::json::parse(config_json, error);
  if (error || !parsed.is_object())
    return fail(ErrorCode::corrupt, "tokenizer_config.json is no JSON object{}{}", error ? ": " : "",
                error ? error.message() : "");
  const boost::json::object& config = parsed.as_object();
  ids.bos = find_configured(tokenizer, config, "bos_token");
  ids.eos = find_configured(tokenizer, config, "eos_token");
  ids.pad = find_configured(tokenizer, config, "pad_token");
  const boost::json::value* adds_bos = config.if_contains("add_bos_token");
  ids.adds_bos = ids.bos >= 0 && adds_bos != nullptr && adds_bos->is_bool() && adds_bos->as_bool();
  return ids;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> make_tokenizer(const VocabularySpec& spec) {
  PAGODA_TRY_STATUS(check_special_ids(spec));
  const std::vector<PgStr> tokens = borrow_all(spec.tokens);
  const std::vector<PgStr> merges = borrow_all(spec.merges);
  const PgVocabulary vocabulary = {
      .model = borrow(spec.model),
      .pre = borrow(spec.pre),
      .tokens = tokens.data(),
      .num_tokens = tokens.size(),
      .scores = spec.scores.data(),
      .num_scores = spec.scores.size(),
      .types = spec.types.data(),
      .num_types = spec.types.size(),
      .merges = merges.data(),
      .num_merges = merges.size(),
      .unk_id = spec.unk_id,
      .add_space_prefix = spec.add_space_prefix ? uint8_t{1} : uint8_t{0},
  };
  PgTokenizer* handle = nullptr;
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(pg_tokenizer_new(&vocabulary, &handle, &error), error));
  auto tokenizer = std::make_unique<RustTokenizer>(TokenizerHandle(handle));
  tokenizer->set_special_ids({spec.bos_id, spec.eos_id, spec.pad_id, spec.add_bos && spec.bos_id >= 0});
  return tokenizer;
}

Result<std::unique_ptr<Tokenizer>> make_tokenizer_from_json(std::string_view tokenizer_json,
                                                            std::string_view tokenizer_config_json) {
  PgTokenizer* handle = nullptr;
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(pg_tokenizer_from_json(borrow(tokenizer_json), &handle, &error), error));
  auto tokenizer = std::make_unique<RustTokenizer>(TokenizerHandle(handle));
  PAGODA_TRY(const SpecialIds ids, read_config(*tokenizer, tokenizer_config_json));
  tokenizer->set_special_ids(ids);
  return tokenizer;
}

}  // namespace pagoda
