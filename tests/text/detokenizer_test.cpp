#include <gtest/gtest.h>

#include "support/fake_tokenizer.h"
#include "text/tokenizer.h"

namespace pagoda {
namespace {

using testing::FakeTokenizer;

FakeTokenizer bytes_of(std::vector<std::string> texts, std::vector<TokenId> specials = {}) {
  return FakeTokenizer(std::move(texts), std::move(specials), -1, -1);
}

std::vector<std::string> pieces_of(const std::vector<std::string>& texts) {
  const FakeTokenizer tokenizer = bytes_of(texts);
  Detokenizer detokenizer(tokenizer, Detokenizer::SpecialText::show);
  std::vector<std::string> pieces(texts.size() + 1);
  for (size_t id = 0; id < texts.size(); ++id) detokenizer.push(static_cast<TokenId>(id), pieces[id]);
  detokenizer.finish(pieces.back());
  return pieces;
}

using Pieces = std::vector<std::string>;

TEST(DetokenizerTest, HoldsBackUnfinishedCharacters) {
  EXPECT_EQ(pieces_of({"a\xE2", "\x82", "\xAC", "b"}), (Pieces{"a", "", "€", "b", ""}));
  EXPECT_EQ(pieces_of({"\xF0", "\x9F\x98", "\x80\xC3", "\xA9"}), (Pieces{"", "", "😀", "é", ""}));
}

TEST(DetokenizerTest, ReplacesDamageByMaximalSubparts) {
  EXPECT_EQ(pieces_of({"\x80"}), (Pieces{"�", ""}));
  EXPECT_EQ(pieces_of({"\xE2\x82", "a"}), (Pieces{"", "�a", ""}));
  EXPECT_EQ(pieces_of({"\xC0\xAF"}), (Pieces{"��", ""}));
  EXPECT_EQ(pieces_of({"\xE0\x80\x80"}), (Pieces{"���", ""}));
  EXPECT_EQ(pieces_of({"\xF4\x90\x80\x80"}), (Pieces{"����", ""}));
  EXPECT_EQ(pieces_of({"\xF0\x9F\x98\xE2\x82\xAC"}), (Pieces{"�€", ""}));
  EXPECT_EQ(pieces_of({"\xED\xA0\x80x"}), (Pieces{"���x", ""}));
}

TEST(DetokenizerTest, FinishReplacesWhatIsHeldBack) {
  EXPECT_EQ(pieces_of({"a\xF0\x9F\x98"}), (Pieces{"a", "�"}));
  EXPECT_EQ(pieces_of({"\xED\xA0"}), (Pieces{"", "��"}));
}

TEST(DetokenizerTest, HidesSpecialTokensWithoutBreakingCharacters) {
  const FakeTokenizer tokenizer = bytes_of({"\xC3", "<eos>", "\xA9"}, {1});
  for (const auto& [special, expected] : {std::pair{Detokenizer::SpecialText::hide, "é"},
                                          std::pair{Detokenizer::SpecialText::show, "�<eos>�"}}) {
    Detokenizer detokenizer(tokenizer, special);
    std::string text;
    for (const TokenId id : {0, 1, 2}) detokenizer.push(id, text);
    detokenizer.finish(text);
    EXPECT_EQ(text, expected);
  }
}

TEST(DetokenizerTest, IgnoresUnknownIds) {
  const FakeTokenizer tokenizer = bytes_of({"a"});
  Detokenizer detokenizer(tokenizer, Detokenizer::SpecialText::show);
  std::string text;
  for (const TokenId id : {-1, 7, 0}) detokenizer.push(id, text);
  detokenizer.finish(text);
  EXPECT_EQ(text, "a");
}

}  // namespace
}  // namespace pagoda
