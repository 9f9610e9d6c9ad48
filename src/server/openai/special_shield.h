// Keeps clients from forging control tokens. A rendered chat is tokenised with its special tokens parsed,
// since the template writes them; text that a client sent must not be read that way. So every special token's
// text inside a client's strings is replaced by a mark before the template sees it, and the mark becomes that
// text again, as plain text, when the rendered chat is tokenised. Strings without such text, nearly all, pass
// unchanged.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <boost/json/value.hpp>

#include "base/result.h"
#include "text/tokenizer.h"

namespace pagoda {

class SpecialShield {
 public:
  explicit SpecialShield(const Tokenizer& tokenizer);

  // In all strings of the value, at any depth; names of members stay.
  void protect(boost::json::value& value) const;
  std::string protect(std::string_view text) const;
  // Marks become the text that they stand for.
  std::string restore(std::string_view text) const;
  Result<std::vector<TokenId>> encode(const Tokenizer& tokenizer, std::string_view rendered) const;

 private:
  struct Piece {
    std::string_view plain;    // text without marks
    std::string_view special;  // then the text of one mark; empty at the end
  };
  // The special text that starts here (the longest), or an empty view.
  std::string_view match(std::string_view text) const;
  Piece next_piece(std::string_view& rest) const;

  std::vector<std::string> texts_;                      // of the special tokens
  std::unordered_map<std::string_view, size_t> index_;  // into texts_
  std::vector<size_t> lengths_;                         // that occur, descending
  std::string first_bytes_;                             // that occur
};

}  // namespace pagoda
