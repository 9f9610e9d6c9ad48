// Every golden string of every tokenizer: ids both ways, decoded text and what a stream shows.
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "io/model_file.h"
#include "model/vocabulary.h"
#include "text/golden_file.h"

namespace pagoda::testing {
namespace {

using boost::json::object;

struct Source {
  std::string folder;  // of tests/data/tokenizers
  std::string gguf;    // in $PAGODA_MODELS; empty: tokenizer.json in the folder

  friend void PrintTo(const Source& source, std::ostream* out) { *out << source.folder; }
};

Result<std::unique_ptr<Tokenizer>> load(const Source& source, const std::string& models) {
  const std::string folder = "tokenizers/" + source.folder + "/";
  if (source.gguf.empty())
    return make_tokenizer_from_json(read_test_file(folder + "tokenizer.json"),
                                    read_test_file(folder + "tokenizer_config.json"));
  PAGODA_TRY(const auto file, ModelFile::open(models + "/" + source.gguf));
  return load_tokenizer(*file);
}

std::vector<std::string> stream(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                                Detokenizer::SpecialText special_text) {
  Detokenizer detokenizer(tokenizer, special_text);
  std::vector<std::string> pieces;
  for (const TokenId id : ids) detokenizer.push(id, pieces.emplace_back());
  if (!pieces.empty()) detokenizer.finish(pieces.back());
  return pieces;
}

std::string join(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

class TokenizerGoldenTest : public ::testing::TestWithParam<Source> {
 protected:
  void SetUp() override {
    const char* models = std::getenv("PAGODA_MODELS");
    const std::string folder = models == nullptr ? "" : models;
    if (!GetParam().gguf.empty() && !std::filesystem::exists(folder + "/" + GetParam().gguf))
      GTEST_SKIP() << GetParam().gguf << " is not in $PAGODA_MODELS";
    auto loaded = load(GetParam(), folder);
    ASSERT_TRUE(loaded) << loaded.error().message;
    tokenizer_ = std::move(*loaded);
  }

  std::vector<object> read_lines(const std::string& name) const {
    return read_json_lines("tokenizers/" + GetParam().folder + "/" + name);
  }

  // The recorded answer, or where the implementations behind it disagree, any of theirs.
  void expect_recorded(const object& record, const std::string& key, const std::vector<TokenId>& ids) const {
    const std::string main = record.contains(key) ? key : "ids";
    if (ids == ids_of(record, main)) return;
    if (!record.at("agreed").as_bool())
      for (const auto& member : record)
        if (member.key().starts_with(key + "_") && ids == ids_of(record, member.key())) return;
    EXPECT_EQ(ids, ids_of(record, main)) << key << " of " << record.at("text");
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(TokenizerGoldenTest, EncodesEveryString) {
  for (const object& record : read_lines("tokenizer.jsonl")) {
    const std::string text = string_of(record, "text");
    const auto parsed = tokenizer_->encode(text, Specials::parse);
    const auto plain = tokenizer_->encode(text, Specials::as_text);
    ASSERT_TRUE(parsed && plain) << text;
    expect_recorded(record, "ids", *parsed);
    expect_recorded(record, "ids_specials_as_text", *plain);
    for (const TokenId id : *plain) EXPECT_FALSE(tokenizer_->is_special(id)) << text;
  }
}

TEST_P(TokenizerGoldenTest, DecodesEveryString) {
  for (const object& record : read_lines("tokenizer.jsonl")) {
    const std::vector<TokenId> ids = ids_of(record, "ids");
    const auto shown = stream(*tokenizer_, ids, Detokenizer::SpecialText::show);
    EXPECT_EQ(shown, strings_of(record, "pieces"));
    EXPECT_EQ(join(shown), string_of(record, "decoded"));
    EXPECT_EQ(join(stream(*tokenizer_, ids, Detokenizer::SpecialText::hide)),
              string_of(record, "decoded_skip_special"));
  }
}

TEST_P(TokenizerGoldenTest, DecodesRandomTokens) {
  for (const object& record : read_lines("decode.jsonl")) {
    const std::vector<TokenId> ids = ids_of(record, "ids");
    std::string bytes;
    for (const TokenId id : ids) tokenizer_->append_bytes(id, bytes);
    std::string hex;
    for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<uint8_t>(byte));
    EXPECT_EQ(hex, string_of(record, "bytes_hex"));
    const auto pieces = stream(*tokenizer_, ids, Detokenizer::SpecialText::show);
    EXPECT_EQ(pieces, strings_of(record, "pieces"));
    EXPECT_EQ(join(pieces), string_of(record, "text_replaced"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGoldenTest,
                         ::testing::Values(Source{"tiny", ""},
                                           Source{"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"},
                                           Source{"qwen2.5-coder", "qwen2.5-coder-0.5b.gguf"},
                                           Source{"gemma3", "gemma-3-270m-q4_k_m.gguf"}),
                         [](const auto& param) {
                           std::string name = param.param.folder;
                           std::erase_if(name, [](char c) { return c == '.' || c == '-'; });
                           return name;
                         });

}  // namespace
}  // namespace pagoda::testing
