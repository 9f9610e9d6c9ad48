// Small vocabularies: what each part of a VocabularySpec means, and which are refused.
#include <deque>
#include <limits>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "text/golden_file.h"
#include "text/tokenizer.h"

namespace pagoda::testing {
namespace {

// Bytes a to e, space and newline as byte-level BPE has them, some merges, a control and a user-defined
// token.
VocabularySpec byte_level_spec() {
  VocabularySpec spec;
  spec.model = "gpt2";
  spec.pre = "gpt-2";
  spec.tokens = {"a", "b", "c", "d", "e", "Ġ", "Ċ", "Ã", "©", "ab", "Ġab", "<|end|>", "<tool>"};
  spec.types = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 4};
  spec.merges = {"a b", "Ġ ab"};
  spec.eos_id = 11;
  return spec;
}

VocabularySpec sentencepiece_spec() {
  VocabularySpec spec;
  spec.model = "llama";
  spec.tokens = {"<unk>", "<s>", "▁", "a", "b", "ab", "▁ab", "<0xC3>", "<0xA9>", "  "};
  spec.types = {2, 3, 1, 1, 1, 1, 1, 6, 6, 4};
  spec.scores = {0, 0, -1, -2, -3, -4, -5, 0, 0, 0};
  spec.bos_id = 1;
  spec.unk_id = 0;
  return spec;
}

std::unique_ptr<Tokenizer> make(const VocabularySpec& spec) {
  auto tokenizer = make_tokenizer(spec);
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return tokenizer ? std::move(*tokenizer) : nullptr;
}

using Ids = std::vector<TokenId>;

Ids encode(const Tokenizer& tokenizer, std::string_view text, Specials specials = Specials::parse) {
  const auto ids = tokenizer.encode(text, specials);
  EXPECT_TRUE(ids) << ids.error().message;
  return ids.value_or(Ids{});
}

std::string decode(const Tokenizer& tokenizer, const Ids& ids) {
  std::string bytes;
  for (const TokenId id : ids) tokenizer.append_bytes(id, bytes);
  return bytes;
}

TEST(TokenizerTest, ByteLevel) {
  const auto tokenizer = make(byte_level_spec());
  EXPECT_EQ(tokenizer->vocab_size(), 13);
  EXPECT_EQ(encode(*tokenizer, "ab abé\n"), (Ids{9, 10, 7, 8, 6}));
  EXPECT_EQ(decode(*tokenizer, {9, 10, 7, 8, 6}), "ab abé\n");
  EXPECT_EQ(encode(*tokenizer, ""), Ids{});
  EXPECT_EQ(tokenizer->eos_id(), 11);
  EXPECT_EQ(tokenizer->bos_id(), -1);
  EXPECT_FALSE(tokenizer->adds_bos());
}

TEST(TokenizerTest, SpecialsAsTextKeepsUserDefinedTokens) {
  VocabularySpec spec = byte_level_spec();
  for (const char* token : {"<", "|", ">", "n", "end"})
    spec.tokens.emplace_back(token), spec.types.push_back(1);
  const auto tokenizer = make(spec);
  EXPECT_EQ(encode(*tokenizer, "a<|end|><tool>"), (Ids{0, 11, 12}));
  EXPECT_EQ(encode(*tokenizer, "a<|end|><tool>", Specials::as_text), (Ids{0, 13, 14, 4, 16, 3, 14, 15, 12}));
  EXPECT_TRUE(tokenizer->is_special(11));
  EXPECT_FALSE(tokenizer->is_special(12));
}

TEST(TokenizerTest, SentencePiece) {
  VocabularySpec spec = sentencepiece_spec();
  const auto tokenizer = make(spec);
  EXPECT_EQ(encode(*tokenizer, "ab ab"), (Ids{5, 6}));
  EXPECT_EQ(encode(*tokenizer, "é"), (Ids{7, 8}));
  EXPECT_EQ(encode(*tokenizer, "a  b"), (Ids{3, 9, 4}));
  EXPECT_EQ(encode(*tokenizer, "ü"), (Ids{0})) << "a character without byte tokens is unknown";
  EXPECT_EQ(decode(*tokenizer, {1, 6, 7, 8, 9}), "<s> abé  ");
  spec.add_space_prefix = true;
  EXPECT_EQ(encode(*make(spec), "ab"), (Ids{6}));
  EXPECT_FALSE(tokenizer->adds_bos());
  spec.add_bos = true;
  EXPECT_TRUE(make(spec)->adds_bos());
}

TEST(TokenizerTest, FindsTokensByText) {
  const auto tokenizer = make(byte_level_spec());
  EXPECT_EQ(tokenizer->find_token("<|end|>"), 11);
  EXPECT_EQ(tokenizer->find_token("Ġab"), 10);
  EXPECT_EQ(tokenizer->find_token("nothing"), -1);
  EXPECT_EQ(tokenizer->find_token("\xff"), -1);
  EXPECT_EQ(tokenizer->token_text(11), "<|end|>");
  EXPECT_EQ(tokenizer->token_text(-1), "");
  EXPECT_EQ(tokenizer->token_text(99), "");
  EXPECT_FALSE(tokenizer->is_special(99));
}

TEST(TokenizerTest, RefusesDamagedText) {
  const auto ids = make(byte_level_spec())->encode("a\xff", Specials::parse);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, ErrorCode::invalid_argument);
}

TEST(TokenizerTest, KnowsItsPreTokenizers) {
  VocabularySpec spec = byte_level_spec();
  for (const char* name : {"gpt-2", "smollm", "starcoder", "qwen2", "llama-bpe", "deepseek-coder",
                           "deepseek-v3", "tekken", "gpt-4o", "glm4", "stablelm2", "dbrx"}) {
    spec.pre = name;
    EXPECT_EQ(decode(*make(spec), encode(*make(spec), "ab  ab\n\na1é ")), "ab  ab\n\naé ") << name;
  }
  spec.pre = "nonsense";
  const auto tokenizer = make_tokenizer(spec);
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::unsupported);
  EXPECT_NE(tokenizer.error().message.find("qwen2"), std::string::npos) << tokenizer.error().message;
}

TEST(TokenizerTest, PreTokenizersSplitDigitsDifferently) {
  VocabularySpec spec = byte_level_spec();
  spec.tokens = {"1", "2", "12", "122", "1221", "Ġ"};
  spec.types.clear();
  spec.merges = {"1 2", "12 2", "122 1"};
  spec.eos_id = -1;
  const std::pair<const char*, Ids> expected[] = {
      {"gpt-2", {4}}, {"smollm", {0, 1, 1, 0}}, {"qwen2", {0, 1, 1, 0}}, {"llama-bpe", {3, 0}}};
  for (const auto& [name, ids] : expected) {
    spec.pre = name;
    EXPECT_EQ(encode(*make(spec), "1221"), ids) << name;
  }
}

void expect_refused(const VocabularySpec& spec, ErrorCode code, std::string_view part) {
  const auto tokenizer = make_tokenizer(spec);
  ASSERT_FALSE(tokenizer) << part;
  EXPECT_EQ(tokenizer.error().code, code) << tokenizer.error().message;
  EXPECT_NE(tokenizer.error().message.find(part), std::string::npos) << tokenizer.error().message;
}

TEST(TokenizerTest, RefusesInconsistentVocabularies) {
  const auto refuse = [](VocabularySpec spec, auto change, std::string_view part) {
    change(spec);
    expect_refused(spec, ErrorCode::corrupt, part);
  };
  const VocabularySpec bpe = byte_level_spec();
  const VocabularySpec spm = sentencepiece_spec();
  refuse(
      bpe, [](auto& s) { s.tokens.clear(), s.types.clear(), s.merges.clear(), s.eos_id = -1; }, "0 tokens");
  refuse(bpe, [](auto& s) { s.types.pop_back(); }, "12 types");
  refuse(bpe, [](auto& s) { s.types[3] = 7; }, "token 3");
  refuse(bpe, [](auto& s) { s.types[3] = -1; }, "token 3");
  refuse(bpe, [](auto& s) { s.tokens[2] = "\xff"; }, "token 2");
  const std::string endless(5000, 'a');
  refuse(bpe, [&](auto& s) { s.tokens[2] = endless; }, "token 2");
  refuse(bpe, [](auto& s) { s.merges[1] = "Ġ x"; }, "merge");
  refuse(bpe, [](auto& s) { s.merges[1] = "a c"; }, "merge");
  refuse(bpe, [](auto& s) { s.merges[1] = "ab"; }, "merge");
  refuse(bpe, [](auto& s) { s.merges[1] = ""; }, "merge");
  refuse(bpe, [](auto& s) { s.eos_id = 13; }, "eos");
  refuse(bpe, [](auto& s) { s.pad_id = -2; }, "pad");
  refuse(spm, [](auto& s) { s.scores.clear(); }, "score");
  refuse(spm, [](auto& s) { s.scores.pop_back(); }, "9 scores");
  refuse(spm, [](auto& s) { s.scores[4] = std::numeric_limits<float>::quiet_NaN(); }, "token 4");
  refuse(spm, [](auto& s) { s.unk_id = 10; }, "unk");
}

TEST(TokenizerTest, RefusesUnknownModels) {
  VocabularySpec spec = byte_level_spec();
  spec.model = "rwkv";
  expect_refused(spec, ErrorCode::unsupported, "llama");
}

TEST(TokenizerTest, SurvivesOddVocabularies) {
  VocabularySpec spec = sentencepiece_spec();
  spec.tokens = {"", "a", "a", "<0xZZ>", "aa", "\xEF\xBF\xBD"};
  spec.types = {1, 1, 3, 6, 1, 5};
  spec.scores = {std::numeric_limits<float>::infinity(), 0, 0, 0, -std::numeric_limits<float>::infinity(), 0};
  spec.bos_id = spec.unk_id = -1;
  const auto tokenizer = make(spec);
  EXPECT_EQ(encode(*tokenizer, "xaay", Specials::as_text), (Ids{4}))
      << "unknown text without an unknown token is lost";
  EXPECT_EQ(decode(*tokenizer, {0, 3, 5}), "<0xZZ>\xEF\xBF\xBD");
}

TEST(TokenizerTest, ReadsJson) {
  const std::string json = read_test_file("tokenizers/tiny/tokenizer.json");
  const auto tokenizer = make_tokenizer_from_json(
      json,
      R"({"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"}, "pad_token": null, "add_bos_token": true})");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->bos_id(), 0);
  EXPECT_EQ((*tokenizer)->eos_id(), 1);
  EXPECT_EQ((*tokenizer)->pad_id(), -1);
  EXPECT_TRUE((*tokenizer)->adds_bos());
  EXPECT_EQ((*tokenizer)->vocab_size(), 512);
  const auto bare = make_tokenizer_from_json(json, "");
  ASSERT_TRUE(bare);
  EXPECT_EQ((*bare)->bos_id(), -1);
}

TEST(TokenizerTest, RefusesBadJson) {
  const std::string json = read_test_file("tokenizers/tiny/tokenizer.json");
  for (const std::string& damaged :
       {std::string(), std::string("{}"), json.substr(0, json.size() / 2), std::string(100'000, '['),
        std::string(R"({"model": {"type": "BPE"}})")}) {
    const auto tokenizer = make_tokenizer_from_json(damaged, "");
    ASSERT_FALSE(tokenizer);
    EXPECT_EQ(tokenizer.error().code, ErrorCode::corrupt) << tokenizer.error().message;
  }
  EXPECT_FALSE(make_tokenizer_from_json(json, "[1]"));
  EXPECT_FALSE(make_tokenizer_from_json(json, "{"));
}

TEST(TokenizerTest, ServesSeveralThreads) {
  const auto tokenizer = make_tokenizer_from_json(read_test_file("tokenizers/tiny/tokenizer.json"), "");
  ASSERT_TRUE(tokenizer);
  const std::string text = "Several threads share one tokenizer.\n<|turn|>user";
  const Ids expected = encode(**tokenizer, text);
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&] {
      for (int round = 0; round < 100; ++round) EXPECT_EQ(encode(**tokenizer, text), expected);
    });
}

// Texts of a vocabulary share blocks of memory, which go with the last of them, whoever frees it.
TEST(TokenizerTest, ComesAndGoesOnAnyThread) {
  std::deque<std::string> texts;
  VocabularySpec spec = byte_level_spec();
  for (int i = 0; i < 100'000; ++i) spec.tokens.push_back(texts.emplace_back(fmt::format("token {:06}", i)));
  spec.types.resize(spec.tokens.size(), 1);
  std::mutex mutex;
  std::unique_ptr<Tokenizer> left;  // by another thread, to be dropped by the next one
  const auto come_and_go = [&] {
    std::unique_ptr<Tokenizer> tokenizer = make(spec);
    EXPECT_EQ(encode(*tokenizer, "ab abé\n"), (Ids{9, 10, 7, 8, 6}));
    EXPECT_EQ(tokenizer->token_text(13 + 77'777), "token 077777");
    EXPECT_EQ(tokenizer->find_token("token 099999"), 13 + 99'999);
    const std::lock_guard lock(mutex);
    std::swap(left, tokenizer);
  };
  // More of them than all blocks together have room for.
  for (int round = 0; round < 40; ++round) {
    std::jthread other(come_and_go);
    come_and_go();
  }
}

// One long run of anything must not take time that grows with its square.
TEST(TokenizerTest, LongRuns) {
  const auto tokenizer = make_tokenizer_from_json(read_test_file("tokenizers/tiny/tokenizer.json"), "");
  ASSERT_TRUE(tokenizer);
  for (const std::string unit : {" ", "a", "\n", "1", "é", "<|", "'"}) {
    std::string text;
    while (text.size() < 200'000) text += unit;
    EXPECT_EQ(decode(**tokenizer, encode(**tokenizer, text)), text);
  }
}

}  // namespace
}  // namespace pagoda::testing
