// Texts of single tokens, for log probabilities.
#pragma once

#include <span>
#include <string>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "server/openai/events.h"
#include "text/tokenizer.h"

namespace pagoda {

std::string token_bytes(const Tokenizer& tokenizer, TokenId id);
bool is_utf8(std::string_view text);
// Damaged characters become U+FFFD.
std::string to_utf8(std::string_view text);
int64_t count_characters(std::string_view utf8);
// JSON has no infinities: a token without probability is reported as -9999, as vLLM does.
double finite_logprob(float logprob);

enum class TokenNames { text, ids };  // "Hello", or "token_id:9707"

// Chat: [{token, logprob, bytes, top_logprobs: [{token, logprob, bytes}]}].
boost::json::array chat_logprobs(const Tokenizer& tokenizer, std::span<const ScoredToken> tokens,
                                 TokenNames names = TokenNames::text);

// vLLM's: null for the first token, then per token an object from the ids of the `num_top` best and of the
// token itself to {logprob, rank, decoded_token}.
boost::json::array prompt_logprobs_json(const Tokenizer& tokenizer, std::span<const ScoredToken> tokens,
                                        int64_t num_top);

// Completions: four arrays, one element a token; `offset` (characters) moves on.
struct CompletionLogprobs {
  TokenNames names = TokenNames::text;
  int64_t max_top = kMaxLogprobs;  // more may be there than were asked for
  boost::json::array tokens;
  boost::json::array token_logprobs;
  boost::json::array top_logprobs;  // objects from token to logprob, or null
  boost::json::array text_offset;

  void append(const Tokenizer& tokenizer, const ScoredToken& token, int64_t& offset);
  // The first token of a prompt: nothing comes before it, so it has no probability.
  void append_first(const Tokenizer& tokenizer, TokenId token, int64_t& offset);
  boost::json::object take();
};

}  // namespace pagoda
