#include "server/openai/token_text.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

struct Utf8Step {
  size_t length = 1;
  bool valid = false;
};

// The character at the front of non-empty text, or the longest damaged part of one (the WHATWG decoder's
// rule).
Utf8Step next_character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, true};
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4) return {1, false};
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte(i) < (i == 1 ? low : 0x80u) || byte(i) > (i == 1 ? high : 0xbfu))
      return {i, false};
  }
  return {length, true};
}

json::array byte_values(std::string_view bytes) {
  json::array values;
  values.reserve(bytes.size());
  for (const char c : bytes) values.emplace_back(static_cast<unsigned char>(c));
  return values;
}

std::string id_label(TokenId token) {
  return fmt::format("token_id:{}", token);
}

json::object chat_entry(const Tokenizer& tokenizer, TokenId token, float logprob, TokenNames names) {
  const std::string bytes = token_bytes(tokenizer, token);
  return {{"token", names == TokenNames::ids ? id_label(token) : to_utf8(bytes)},
          {"logprob", finite_logprob(logprob)},
          {"bytes", byte_values(bytes)}};
}

// Keys must differ, so parts of characters are written out, as OpenAI did: "bytes:\xe2\x80".
std::string completion_label(const Tokenizer& tokenizer, TokenId token, TokenNames names) {
  if (names == TokenNames::ids) return id_label(token);
  std::string bytes = token_bytes(tokenizer, token);
  if (is_utf8(bytes)) return bytes;
  std::string label = "bytes:";
  for (const char c : bytes) label += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return label;
}

}  // namespace

std::string token_bytes(const Tokenizer& tokenizer, TokenId id) {
  std::string bytes;
  tokenizer.append_bytes(id, bytes);
  return bytes;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = next_character(text);
    if (!step.valid) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

std::string to_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Step step = next_character(text);
    out += step.valid ? text.substr(0, step.length) : std::string_view("\xef\xbf\xbd");
    text.remove_prefix(step.length);
  }
  return out;
}

int64_t count_characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

double finite_logprob(float logprob) {
  return std::isfinite(logprob) ? static_cast<double>(logprob) : -9999.0;
}

json::array prompt_logprobs_json(const Tokenizer& tokenizer, std::span<const ScoredToken> tokens,
                                 int64_t num_top) {
  json::array result = {nullptr};
  for (const ScoredToken& token : tokens) {
    json::object entry;
    const auto add = [&](TokenId id, float logprob, int64_t rank) {
      entry[std::to_string(id)] = json::object{{"logprob", finite_logprob(logprob)},
                                               {"rank", rank},
                                               {"decoded_token", to_utf8(token_bytes(tokenizer, id))}};
    };
    const size_t num_shown = std::min(token.top_logprobs.size(), static_cast<size_t>(num_top));
    for (size_t i = 0; i < num_shown; ++i)
      add(token.top_logprobs[i].token, token.top_logprobs[i].logprob, static_cast<int64_t>(i) + 1);
    add(token.token, token.logprob, token.rank);
    result.push_back(std::move(entry));
  }
  return result;
}

json::array chat_logprobs(const Tokenizer& tokenizer, std::span<const ScoredToken> tokens, TokenNames names) {
  json::array content;
  content.reserve(tokens.size());
  for (const ScoredToken& token : tokens) {
    json::object entry = chat_entry(tokenizer, token.token, token.logprob, names);
    json::array top;
    for (const TokenLogprob& other : token.top_logprobs)
      top.push_back(chat_entry(tokenizer, other.token, other.logprob, names));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return content;
}

void CompletionLogprobs::append(const Tokenizer& tokenizer, const ScoredToken& token, int64_t& offset) {
  const std::string label = completion_label(tokenizer, token.token, names);
  json::object top;
  const size_t num_top = std::min(token.top_logprobs.size(), static_cast<size_t>(max_top));
  for (const TokenLogprob& other : std::span(token.top_logprobs).first(num_top))
    top[completion_label(tokenizer, other.token, names)] = finite_logprob(other.logprob);
  top[label] = finite_logprob(token.logprob);
  tokens.emplace_back(label);
  token_logprobs.emplace_back(finite_logprob(token.logprob));
  top_logprobs.emplace_back(std::move(top));
  text_offset.emplace_back(offset);
  offset += count_characters(token_bytes(tokenizer, token.token));
}

void CompletionLogprobs::append_first(const Tokenizer& tokenizer, TokenId token, int64_t& offset) {
  tokens.emplace_back(completion_label(tokenizer, token, names));
  token_logprobs.emplace_back(nullptr);
  top_logprobs.emplace_back(nullptr);
  text_offset.emplace_back(offset);
  offset += count_characters(token_bytes(tokenizer, token));
}

json::object CompletionLogprobs::take() {
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(token_logprobs)},
          {"top_logprobs", std::move(top_logprobs)},
          {"text_offset", std::move(text_offset)}};
}

}  // namespace pagoda
