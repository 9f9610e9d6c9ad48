// Tokenizer metadata from untrusted files: any vocabulary gives an Error or a tokenizer that works.
#include <cstdint>
#include <deque>
#include <string>
#include <thread>

#include <fuzzer/FuzzedDataProvider.h>

#include "base/check.h"
#include "text/tokenizer.h"

namespace pagoda {
namespace {

constexpr const char* kModels[] = {"gpt2", "llama", "bert"};
constexpr const char* kPreTokenizers[] = {"gpt-2",       "smollm", "qwen2",  "llama-bpe", "deepseek-coder",
                                          "deepseek-v3", "tekken", "gpt-4o", "unknown"};

// Keeps the vocabulary's texts in `texts`, where they stay in place.
VocabularySpec read_spec(FuzzedDataProvider& data, std::deque<std::string>& texts) {
  VocabularySpec spec;
  spec.model = data.PickValueInArray(kModels);
  spec.pre = data.PickValueInArray(kPreTokenizers);
  const size_t num_tokens = data.ConsumeIntegralInRange<size_t>(0, 64);
  for (size_t i = 0; i < num_tokens; ++i)
    spec.tokens.push_back(texts.emplace_back(data.ConsumeRandomLengthString(12)));
  const auto size_near = [&] {
    return data.ConsumeProbability<float>() < 0.9F ? num_tokens : data.ConsumeIntegralInRange<size_t>(0, 70);
  };
  spec.types.resize(size_near());
  for (int32_t& type : spec.types) type = data.ConsumeIntegralInRange<int32_t>(0, 7);
  spec.scores.resize(size_near());
  for (float& score : spec.scores) score = data.ConsumeFloatingPoint<float>();
  const size_t num_merges = data.ConsumeIntegralInRange<size_t>(0, 16);
  for (size_t i = 0; i < num_merges; ++i) {
    if (num_tokens > 0 && data.ConsumeBool()) {
      const size_t left = data.ConsumeIntegralInRange<size_t>(0, num_tokens - 1);
      const size_t right = data.ConsumeIntegralInRange<size_t>(0, num_tokens - 1);
      spec.merges.push_back(texts.emplace_back(fmt::format("{} {}", spec.tokens[left], spec.tokens[right])));
    } else {
      spec.merges.push_back(texts.emplace_back(data.ConsumeRandomLengthString(12)));
    }
  }
  for (TokenId* id : {&spec.bos_id, &spec.eos_id, &spec.unk_id, &spec.pad_id})
    *id = data.ConsumeIntegralInRange<TokenId>(-2, 65);
  spec.add_bos = data.ConsumeBool();
  spec.add_space_prefix = data.ConsumeBool();
  return spec;
}

void use(const Tokenizer& tokenizer, const std::string& text) {
  Detokenizer detokenizer(tokenizer, Detokenizer::SpecialText::show);
  std::string shown;
  for (const Specials specials : {Specials::parse, Specials::as_text}) {
    const auto ids = tokenizer.encode(text, specials);
    if (!ids) {
      PAGODA_CHECK(ids.error().code == ErrorCode::invalid_argument, "{}", ids.error().message);
      continue;
    }
    for (const TokenId id : *ids) {
      PAGODA_CHECK(id >= 0 && id < tokenizer.vocab_size(), "id {}", id);
      detokenizer.push(id, shown);
    }
  }
  detokenizer.finish(shown);
  tokenizer.find_token(text);
  for (const TokenId id : {-1, 0, 1, 64}) tokenizer.token_text(id);
}

void run(FuzzedDataProvider& data) {
  if (data.ConsumeBool()) {
    std::deque<std::string> texts;
    const VocabularySpec spec = read_spec(data, texts);
    if (const auto tokenizer = make_tokenizer(spec)) use(**tokenizer, data.ConsumeRemainingBytesAsString());
  } else {
    const std::string config = data.ConsumeRandomLengthString(64);
    const std::string text = data.ConsumeRandomLengthString(64);
    if (const auto tokenizer = make_tokenizer_from_json(data.ConsumeRemainingBytesAsString(), config))
      use(**tokenizer, text);
  }
}

}  // namespace
}  // namespace pagoda

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  // On a thread of its own, since the library keeps a cache of each tokenizer in every thread that used it.
  std::thread([&] { pagoda::run(data); }).join();
  return 0;
}
