#include <algorithm>

#include "text/tokenizer.h"

namespace pagoda {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

enum class Unit { character, damaged, unfinished };

struct NextUnit {
  Unit unit;
  size_t size;  // bytes, at least 1
};

struct LeadByte {
  size_t length;       // of the whole character; 0: no character starts with this byte
  uint8_t min_second;  // bounds of the second byte, which rule out overlong forms, surrogates and what is too
                       // large
  uint8_t max_second;
};

LeadByte classify(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2 || byte > 0xF4) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0)
    return {3, byte == 0xE0 ? uint8_t{0xA0} : uint8_t{0x80}, byte == 0xED ? uint8_t{0x9F} : uint8_t{0xBF}};
  return {4, byte == 0xF0 ? uint8_t{0x90} : uint8_t{0x80}, byte == 0xF4 ? uint8_t{0x8F} : uint8_t{0xBF}};
}

// The start of an encoded surrogate. It is damaged whatever follows, but Python's incremental decoder, after
// which our pieces are modelled, decides that only with the byte after it.
bool is_surrogate_start(std::string_view text) {
  return text.size() == 2 && text[0] == '\xED' && static_cast<uint8_t>(text[1]) >= 0xA0 &&
         static_cast<uint8_t>(text[1]) <= 0xBF;
}

// The first character of a text, or the longest damaged start of one (Unicode's "maximal subpart").
NextUnit next_unit(std::string_view text) {
  const LeadByte lead = classify(static_cast<uint8_t>(text[0]));
  if (lead.length == 0) return {Unit::damaged, 1};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Unit::unfinished, i};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t least = i == 1 ? lead.min_second : uint8_t{0x80};
    const uint8_t most = i == 1 ? lead.max_second : uint8_t{0xBF};
    if (byte < least || byte > most) return {Unit::damaged, i};
  }
  return {Unit::character, lead.length};
}

}  // namespace

void Detokenizer::push(TokenId id, std::string& out) {
  if (special_text_ == SpecialText::hide && tokenizer_->is_special(id) &&
      std::ranges::find(shown_, id) == shown_.end())
    return;
  tokenizer_->append_bytes(id, pending_);
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const NextUnit next = next_unit(rest);
    if (next.unit == Unit::unfinished || is_surrogate_start(rest)) break;
    out += next.unit == Unit::character ? rest.substr(0, next.size) : kReplacement;
    rest.remove_prefix(next.size);
  }
  pending_.erase(0, pending_.size() - rest.size());
}

void Detokenizer::finish(std::string& out) {
  for (std::string_view rest = pending_; !rest.empty(); rest.remove_prefix(next_unit(rest).size))
    out += kReplacement;
  pending_.clear();
}

}  // namespace pagoda
