#include "kv/page_chain.h"

#include <array>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace pagoda {

namespace {

void append(std::string& bytes, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(value >> shift));
}

// With its length before it, so that no two lists of fields give the same bytes.
void append(std::string& bytes, std::string_view field) {
  append(bytes, uint64_t{field.size()});
  bytes += field;
}

}  // namespace

Digest root_key(const Digest& fingerprint, const PrefixNamespace& prefix) {
  std::string bytes;
  append(bytes, fingerprint.low);
  append(bytes, fingerprint.high);
  append(bytes, std::string_view(prefix.adapter));
  append(bytes, std::string_view(prefix.salt));
  append(bytes, uint64_t{prefix.flags});
  return digest(std::as_bytes(std::span(bytes)));
}

Digest page_key(const Digest& parent, const PageTokens& tokens) {
  std::array<uint64_t, kPageTokens + 2> words{parent.low, parent.high};
  std::memcpy(words.data() + 2, tokens.data(), sizeof(tokens));
  return digest(std::as_bytes(std::span(words)));
}

}  // namespace pagoda
