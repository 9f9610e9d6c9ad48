#include "server/output/call_ids.h"

#include <algorithm>

namespace pagoda {
namespace {

constexpr size_t kShortIdLength = 9;
constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

// FNV-1a.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace

CallIdStyle detect_call_id_style(std::string_view chat_template) {
  const bool nine = chat_template.contains("|length != 9") || chat_template.contains("|length < 9");
  return nine ? CallIdStyle::nine_letters : CallIdStyle::any;
}

std::string styled_call_id(std::string id, CallIdStyle style) {
  const auto is_letter = [](char c) { return kLetters.contains(c); };
  if (style == CallIdStyle::any || (id.size() == kShortIdLength && std::ranges::all_of(id, is_letter)))
    return id;
  uint64_t rest = hash_of(id);
  id.clear();
  for (size_t i = 0; i < kShortIdLength; ++i, rest /= kLetters.size()) id += kLetters[rest % kLetters.size()];
  return id;
}

}  // namespace pagoda
