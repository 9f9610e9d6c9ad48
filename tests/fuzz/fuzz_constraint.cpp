// Schemas, expressions, choices and grammars of clients: each compiles or is refused in bounded time, and one
// that compiles can be walked along: what it allows, it takes.
#include <cstdlib>

#include "base/check.h"
#include "support/cpu_time.h"
#include "support/fake_tokenizer.h"
#include "text/constraint.h"

namespace {

using pagoda::Constraint;
using pagoda::ConstraintFactory;
using pagoda::ConstraintSource;
using pagoda::TokenId;
using pagoda::testing::cpu_ms;
using pagoda::testing::FakeTokenizer;
using pagoda::testing::kMaxCompileMs;

FakeTokenizer byte_tokenizer() {
  std::vector<std::string> texts = {"<|end|>"};
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  for (const char* text : {"{\"", "\":", "true", "false", "null", "\",\"", "  ", "ab"})
    texts.emplace_back(text);
  return FakeTokenizer(std::move(texts), {0}, -1, 0);
}

// Takes up to 40 tokens, chosen by the bytes of the input.
void walk(Constraint& constraint, const FakeTokenizer& tokenizer, std::string_view choices) {
  const auto vocab_size = static_cast<size_t>(tokenizer.vocab_size());
  std::vector<uint32_t> words((vocab_size + 31) / 32);
  for (size_t i = 0; i < 40 && !constraint.is_finished(); ++i) {
    if (!constraint.fill_mask(words)) return;
    std::vector<TokenId> allowed;
    for (size_t token = 0; token < vocab_size; ++token)
      if ((words[token / 32] >> (token % 32) & 1u) != 0) allowed.push_back(static_cast<TokenId>(token));
    if (allowed.empty()) return;
    const TokenId token = allowed[static_cast<unsigned char>(choices[i % choices.size()]) % allowed.size()];
    const pagoda::Result<bool> agrees = constraint.allows(token);
    PAGODA_CHECK(!agrees || *agrees, "token {} is in the mask and not allowed", token);
    const pagoda::Status taken = constraint.consume(token);
    if (!taken) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const FakeTokenizer tokenizer = byte_tokenizer();
  static const auto factory = ConstraintFactory::create(tokenizer, std::vector<TokenId>{0});
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  ConstraintSource source{.kind = static_cast<ConstraintSource::Kind>(input[0] & 3),
                          .text = std::string(input.substr(1))};
  const double begin_ms = cpu_ms();
  const auto compiled = factory->compile(source);
  const double elapsed_ms = cpu_ms() - begin_ms;
  PAGODA_CHECK(elapsed_ms < kMaxCompileMs, "{} ms to compile", elapsed_ms);
  if (!compiled) return 0;
  auto constraint = (*compiled)->start();
  if (constraint) walk(*constraint, tokenizer, input);
  return 0;
}
