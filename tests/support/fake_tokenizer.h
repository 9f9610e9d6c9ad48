// A tokenizer over a handful of given texts.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace pagoda::testing {

class FakeTokenizer final : public Tokenizer {
 public:
  // texts[i] is the text of token i; it may be a part of a character. `specials`, `bos` and `eos` are ids;
  // -1: none.
  FakeTokenizer(std::vector<std::string> texts, std::vector<TokenId> specials, TokenId bos, TokenId eos)
      : texts_(std::move(texts)), specials_(std::move(specials)), bos_(bos), eos_(eos) {
    for (TokenId id = 0; id < static_cast<TokenId>(texts_.size()); ++id) {
      const std::string& piece = texts_[static_cast<size_t>(id)];
      if (!piece.empty()) by_first_byte_[static_cast<unsigned char>(piece.front())].push_back(id);
    }
  }

  // Token 0 is the special "<eos>", 1 the special "<bos>", 2 and 3 are the two bytes of "é", and the rest are
  // letters and, from the 27th on, letters followed by a space.
  static FakeTokenizer letters(int64_t vocab_size) {
    std::vector<std::string> texts = {"<eos>", "<bos>", "\xc3", "\xa9"};
    for (int64_t id = 4; id < vocab_size; ++id) {
      std::string text(1, static_cast<char>('a' + (id - 4) % 26));
      if (id - 4 >= 26) text += ' ';
      texts.push_back(std::move(text));
    }
    return FakeTokenizer(std::move(texts), {0, 1}, 1, 0);
  }

  int64_t vocab_size() const override { return static_cast<int64_t>(texts_.size()); }
  // The longest token that fits, again and again; text that no token begins is refused.
  Result<std::vector<TokenId>> encode(std::string_view text, Specials specials) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      TokenId best = -1;
      for (const TokenId id : by_first_byte_[static_cast<unsigned char>(text.front())]) {
        const std::string& piece = texts_[static_cast<size_t>(id)];
        if (!text.starts_with(piece) || (is_special(id) && specials == Specials::as_text)) continue;
        if (best < 0 || piece.size() > texts_[static_cast<size_t>(best)].size()) best = id;
      }
      if (best < 0) return fail(ErrorCode::invalid_argument, "no token begins '{}'", text);
      ids.push_back(best);
      text.remove_prefix(texts_[static_cast<size_t>(best)].size());
    }
    return ids;
  }
  void append_bytes(TokenId id, std::string& out) const override {
    if (id >= 0 && id < static_cast<TokenId>(texts_.size())) out += texts_[static_cast<size_t>(id)];
  }
  bool is_special(TokenId id) const override { return std::ranges::find(specials_, id) != specials_.end(); }
  TokenId bos_id() const override { return bos_; }
  TokenId eos_id() const override { return eos_; }
  TokenId pad_id() const override { return -1; }
  bool adds_bos() const override { return bos_ >= 0; }
  std::string token_text(TokenId id) const override {
    std::string text;
    append_bytes(id, text);
    return text;
  }
  TokenId find_token(std::string_view text) const override {
    const auto found = std::ranges::find(texts_, text);
    return found == texts_.end() ? -1 : static_cast<TokenId>(found - texts_.begin());
  }

 private:
  std::vector<std::string> texts_;
  std::vector<TokenId> specials_;
  TokenId bos_;
  TokenId eos_;
  std::array<std::vector<TokenId>, 256> by_first_byte_;
};

}  // namespace pagoda::testing
