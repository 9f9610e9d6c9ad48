#include "server/openai/special_shield.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

// Noncharacters U+FDD0 and U+FDD1: valid UTF-8 that Unicode keeps for inner use. A mark is kOpen, an index,
// kClose.
constexpr std::string_view kOpen = "\xef\xb7\x90";
constexpr std::string_view kClose = "\xef\xb7\x91";
constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // for a kOpen that a client sent

}  // namespace

SpecialShield::SpecialShield(const Tokenizer& tokenizer) {
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.is_special(id))
      if (std::string text = tokenizer.token_text(id); !text.empty()) texts_.push_back(std::move(text));
  for (size_t i = 0; i < texts_.size(); ++i) {
    index_.emplace(texts_[i], i);
    lengths_.push_back(texts_[i].size());
    if (first_bytes_.find(texts_[i][0]) == std::string::npos) first_bytes_ += texts_[i][0];
  }
  std::sort(lengths_.begin(), lengths_.end(), std::greater<>());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
}

std::string_view SpecialShield::match(std::string_view text) const {
  for (const size_t length : lengths_)
    if (length <= text.size() && index_.contains(text.substr(0, length))) return text.substr(0, length);
  return {};
}

std::string SpecialShield::protect(std::string_view text) const {
  std::string out;
  const std::string stops = first_bytes_ + kOpen[0];
  while (!text.empty()) {
    const size_t plain_len = std::min(text.find_first_of(stops), text.size());
    out += text.substr(0, plain_len);
    text.remove_prefix(plain_len);
    if (text.empty()) break;
    if (const std::string_view special = match(text); !special.empty()) {
      out += kOpen;
      out += std::to_string(index_.at(special));
      out += kClose;
      text.remove_prefix(special.size());
    } else if (text.starts_with(kOpen)) {
      out += kReplacement;
      text.remove_prefix(kOpen.size());
    } else {
      out += text[0];
      text.remove_prefix(1);
    }
  }
  return out;
}

void SpecialShield::protect(json::value& value) const {
  if (json::string* text = value.if_string()) {
    *text = protect(std::string_view(*text));
  } else if (json::array* array = value.if_array()) {
    for (json::value& element : *array) protect(element);
  } else if (json::object* object = value.if_object()) {
    for (auto& member : *object) protect(member.value());
  }
}

SpecialShield::Piece SpecialShield::next_piece(std::string_view& rest) const {
  for (size_t from = 0;;) {
    const size_t open = rest.find(kOpen, from);
    if (open == std::string_view::npos) return {std::exchange(rest, {}), {}};
    const size_t digits = open + kOpen.size();
    const size_t close = rest.find(kClose, digits);
    size_t index = texts_.size();
    if (close != std::string_view::npos) std::from_chars(rest.data() + digits, rest.data() + close, index);
    if (index < texts_.size()) {
      const Piece piece{rest.substr(0, open), texts_[index]};
      rest.remove_prefix(close + kClose.size());
      return piece;
    }
    from = digits;  // a template cut the mark into pieces: it is text now
  }
}

std::string SpecialShield::restore(std::string_view text) const {
  std::string out;
  while (!text.empty()) {
    const Piece piece = next_piece(text);
    out += piece.plain;
    out += piece.special;
  }
  return out;
}

Result<std::vector<TokenId>> SpecialShield::encode(const Tokenizer& tokenizer,
                                                   std::string_view rendered) const {
  std::vector<TokenId> ids;
  const auto append = [&](std::string_view text, Specials specials) -> Status {
    if (text.empty()) return {};
    PAGODA_TRY(const std::vector<TokenId> part, tokenizer.encode(text, specials));
    ids.insert(ids.end(), part.begin(), part.end());
    return {};
  };
  while (!rendered.empty()) {
    const Piece piece = next_piece(rendered);
    PAGODA_TRY_STATUS(append(piece.plain, Specials::parse));
    PAGODA_TRY_STATUS(append(piece.special, Specials::as_text));
  }
  return ids;
}

}  // namespace pagoda
