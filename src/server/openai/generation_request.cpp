#include "server/openai/generation_request.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <boost/json.hpp>

#include "server/openai/accepted_fields.h"
#include "server/openai/token_text.h"

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();
// Of the keys that an error names.
constexpr size_t kMaxNamedKeys = 16;
constexpr size_t kMaxNamedKeyBytes = 64;

void add_stop(Fields& fields, const std::string& param, const json::value& value,
              std::vector<std::string>& out) {
  if (!value.is_string()) return fields.fail_with(wrong_type(param, "a string", value));
  const json::string& text = value.get_string();
  if (text.empty())
    return fields.fail_with(bad_parameter(
        param, "invalid_value", fmt::format("Invalid '{}': a stop string cannot be empty.", param)));
  if (text.size() > kMaxStopBytes)
    return fields.fail_with(
        bad_parameter(param, "string_above_max_length",
                      fmt::format("Invalid '{}': string too long. Expected at most {} bytes, but "
                                  "got {} instead.",
                                  param, kMaxStopBytes, text.size())));
  out.emplace_back(text);
}

void read_stop(Fields& fields, std::vector<std::string>& out) {
  const json::value* value = fields.any("stop");
  if (!value) return;
  if (!value->is_array()) {
    if (!value->is_string())
      return fields.fail_with(wrong_type("stop", "a string or an array of strings", *value));
    return add_stop(fields, "stop", *value, out);
  }
  const json::array& stops = value->get_array();
  if (stops.size() > kMaxStopStrings)
    return fields.fail_with(
        bad_parameter("stop", "array_above_max_length",
                      fmt::format("Invalid 'stop': array too long. Expected at most {} strings, "
                                  "but got {} instead.",
                                  kMaxStopStrings, stops.size())));
  for (size_t i = 0; i < stops.size(); ++i) add_stop(fields, fmt::format("stop[{}]", i), stops[i], out);
}

std::optional<int32_t> parse_token_id(std::string_view text, int64_t vocab_size) {
  int64_t id = -1;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (ec != std::errc() || end != text.data() + text.size() || id < 0 || id >= vocab_size)
    return std::nullopt;
  return static_cast<int32_t>(id);
}

// Names all the keys that are no token ids, up to kMaxNamedKeys.
std::optional<ApiError> check_bias_keys(const json::object& biases, int64_t vocab_size) {
  std::string wrong;
  size_t num_wrong = 0;
  for (const auto& bias : biases) {
    if (parse_token_id(bias.key(), vocab_size) || ++num_wrong > kMaxNamedKeys) continue;
    wrong += fmt::format("{}'{}'", wrong.empty() ? "" : ", ",
                         to_utf8(std::string_view(bias.key()).substr(0, kMaxNamedKeyBytes)));
  }
  if (num_wrong == 0) return std::nullopt;
  if (num_wrong > kMaxNamedKeys) wrong += fmt::format(" and {} more", num_wrong - kMaxNamedKeys);
  return bad_parameter(
      "logit_bias", "invalid_value",
      fmt::format("Invalid 'logit_bias': {} {} of this model (0 to {}): out of vocabulary.", wrong,
                  num_wrong == 1 ? "is not a token id" : "are not token ids", vocab_size - 1));
}

void read_logit_bias(Fields& fields, const ModelLimits& limits, SamplingParams& out) {
  const json::object* biases = fields.object("logit_bias");
  if (!biases) return;
  if (biases->size() > kMaxLogitBiases)
    return fields.fail_with(
        bad_parameter("logit_bias", "object_above_max_properties",
                      fmt::format("Invalid 'logit_bias': at most {} tokens can be biased, but got "
                                  "{}.",
                                  kMaxLogitBiases, biases->size())));
  if (auto error = check_bias_keys(*biases, limits.vocab_size)) return fields.fail_with(std::move(*error));
  Fields values(*biases, "logit_bias.");
  for (const auto& [key, value] : *biases) {
    const std::optional<int32_t> id = parse_token_id(key, limits.vocab_size);
    if (!id) continue;  // refused above
    float bias = 0;
    values.decimal(key, {.min = -100, .max = 100}, bias);
    if (const auto& error = values.error()) return fields.fail_with(*error);
    out.logit_bias.emplace_back(*id, bias);
  }
}

void read_sampling(Fields& fields, const ModelLimits& limits, SamplingParams& out) {
  fields.decimal("temperature", {.min = 0, .max = 2}, out.temperature);
  fields.decimal("top_p", {.min = 0, .max = 1, .lower = DecimalRange::Lower::exclusive}, out.top_p);
  fields.decimal("min_p", {.min = 0, .max = 1}, out.min_p);
  fields.integer("top_k", {.min = -1, .max = kMaxInt32}, out.top_k);
  fields.decimal("presence_penalty", {.min = -2, .max = 2}, out.presence_penalty);
  fields.decimal("frequency_penalty", {.min = -2, .max = 2}, out.frequency_penalty);
  fields.decimal("repetition_penalty", {.min = 0, .max = 100, .lower = DecimalRange::Lower::exclusive},
                 out.repetition_penalty);
  std::optional<int64_t> seed;
  fields.integer("seed", {}, seed);
  if (seed) out.seed = static_cast<uint64_t>(*seed);
  read_logit_bias(fields, limits, out);
}

void read_allowed_tokens(Fields& fields, const ModelLimits& limits, std::vector<int32_t>& out) {
  const json::array* ids = fields.array("allowed_token_ids");
  if (!ids) return;
  fields.integers("allowed_token_ids", {.min = 0, .max = limits.vocab_size - 1}, kMaxAllowedTokens, out);
  if (ids->empty())
    fields.fail_with(bad_parameter("allowed_token_ids", "empty_array",
                                   "Invalid 'allowed_token_ids': expected at least one token id."));
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
}

void read_logprob_tokens(Fields& fields, const ModelLimits& limits, std::vector<int32_t>& out) {
  fields.integers("logprob_token_ids", {.min = 0, .max = limits.vocab_size - 1}, kMaxLogprobs - 1, out);
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
}

void read_bad_words(Fields& fields, std::vector<std::string>& out) {
  const json::array* words = fields.array("bad_words");
  if (!words) return;
  if (words->size() > kMaxBadWordStrings)
    return fields.fail_with(bad_parameter(
        "bad_words", "array_above_max_length",
        fmt::format("Invalid 'bad_words': array too long. Expected at most {} words, but got {} instead.",
                    kMaxBadWordStrings, words->size())));
  for (size_t i = 0; i < words->size(); ++i) {
    const std::string param = fmt::format("bad_words[{}]", i);
    const json::string* word = (*words)[i].if_string();
    if (!word) return fields.fail_with(wrong_type(param, "a string", (*words)[i]));
    if (word->empty() || word->size() > kMaxBadWordBytes)
      return fields.fail_with(bad_parameter(param, "invalid_value",
                                            fmt::format("Invalid '{}': expected 1 to {} bytes, but got {}.",
                                                        param, kMaxBadWordBytes, word->size())));
    out.emplace_back(*word);
  }
}

void read_prompt_logprobs(Fields& fields, GenerationRequest& out) {
  fields.integer("prompt_logprobs", {.min = 0, .max = kMaxLogprobs}, out.num_prompt_logprobs);
  if (!out.num_prompt_logprobs) return;
  if (out.stream)
    fields.fail_with(bad_parameter("prompt_logprobs", "invalid_value",
                                   "'prompt_logprobs' are not available when 'stream' is enabled."));
  out.engine.want_prompt_logprobs = true;
  out.engine.num_prompt_logprobs = static_cast<int32_t>(*out.num_prompt_logprobs);
}

void read_cache_salt(Fields& fields, std::string& out) {
  if (!fields.any("cache_salt")) return;
  fields.string("cache_salt", out);
  if (out.empty() || out.size() > kMaxCacheSaltBytes)
    fields.fail_with(
        bad_parameter("cache_salt", "invalid_value",
                      fmt::format("Invalid 'cache_salt': expected 1 to {} characters.", kMaxCacheSaltBytes)));
}

void read_truncation(Fields& fields, GenerationRequest& out) {
  fields.integer("truncate_prompt_tokens", {.min = -1}, out.truncate_prompt);
  if (out.truncate_prompt == 0)
    fields.fail_with(bad_parameter("truncate_prompt_tokens", "invalid_value",
                                   "Invalid 'truncate_prompt_tokens': expected a positive number, or -1 for "
                                   "what the context holds."));
  std::string side = "left";
  fields.string("truncation_side", side);
  if (side != "left" && side != "right")
    fields.fail_with(bad_parameter("truncation_side", "invalid_value",
                                   "Invalid 'truncation_side': expected 'left' or 'right'."));
  if (side == "right") out.keep = GenerationRequest::Keep::beginning;
}

// What would change the answer and cannot be honoured must not be dropped silently.
void refuse_beam_search(Fields& fields) {
  bool wanted = false;
  fields.boolean("use_beam_search", wanted);
  if (wanted)
    fields.fail_with(unsupported_parameter("use_beam_search", "This server does not search by beams."));
}

void read_stream_options(Fields& fields, GenerationRequest& out) {
  const json::object* options = fields.object("stream_options");
  if (!options) return;
  if (!out.stream)
    return fields.fail_with(
        bad_parameter("stream_options", "invalid_value",
                      "The 'stream_options' parameter is only allowed when 'stream' is enabled."));
  Fields inner(*options, "stream_options.");
  inner.boolean("include_usage", out.include_usage);
  inner.boolean("continuous_usage_stats", out.continuous_usage);
  if (const auto& error = inner.error()) fields.fail_with(*error);
}

}  // namespace

void read_n_predict(Fields& fields, GenerationRequest& out) {
  std::optional<int64_t> bound;
  fields.integer("n_predict", {.min = -1}, bound);
  if (bound) out.default_max_tokens = *bound < 0 ? std::numeric_limits<int64_t>::max() : *bound;
}

void read_max_tokens(Fields& fields, GenerationRequest& out) {
  read_n_predict(fields, out);
  fields.integer("max_tokens", {.min = 1}, out.max_tokens);
  if (!fields.any("max_completion_tokens")) return;
  fields.integer("max_completion_tokens", {.min = 1}, out.max_tokens);
  out.max_tokens_param = "max_completion_tokens";
}

void read_running_reports(Fields& fields, GenerationRequest& out) {
  bool timings = false;
  bool progress = false;
  fields.boolean("timings_per_token", timings);
  fields.boolean("return_progress", progress);
  out.engine.report_timings = out.stream && timings;
  out.engine.report_progress = out.stream && progress;
}

void read_request_fields(Fields& fields, GenerationRequest& out) {
  fields.integer("priority", {.min = -kMaxInt32, .max = kMaxInt32}, out.engine.priority);
  std::string user;
  fields.string("user", user);
  out.engine.client = std::hash<std::string>{}(user);
  read_cache_salt(fields, out.engine.cache_salt);
  read_truncation(fields, out);
  fields.boolean("add_special_tokens", out.add_special_tokens);
}

void read_generation_fields(Fields& fields, const ModelLimits& limits, GenerationRequest& out) {
  out.engine.sampling = limits.default_sampling;
  fields.string("model", out.model);
  fields.boolean("stream", out.stream);
  read_sampling(fields, limits, out.engine.sampling);
  fields.integer("n", {.min = 1, .max = limits.max_choices}, out.engine.num_sequences);
  fields.integer("min_tokens", {.min = 0}, out.engine.min_tokens);
  read_stop(fields, out.engine.stop);
  fields.integers("stop_token_ids", {.min = 0, .max = limits.vocab_size - 1}, kMaxStopTokens,
                  out.engine.stop_token_ids);
  fields.boolean("include_stop_str_in_output", out.engine.include_stop_in_output);
  fields.boolean("ignore_eos", out.engine.ignore_eos);
  fields.boolean("skip_special_tokens", out.engine.skip_special_tokens);
  out.structured_output = read_structured_output(fields);
  read_allowed_tokens(fields, limits, out.engine.sampling.allowed_tokens);
  read_bad_words(fields, out.bad_words);
  read_request_fields(fields, out);
  refuse_beam_search(fields);
  check_accepted_fields(fields);
}

void read_completion_fields(Fields& fields, const ModelLimits& limits, GenerationRequest& out) {
  read_stream_options(fields, out);
  read_logprob_tokens(fields, limits, out.engine.sampling.logprob_tokens);
  read_prompt_logprobs(fields, out);
  fields.boolean("return_token_ids", out.return_token_ids);
  fields.boolean("return_tokens_as_token_ids", out.tokens_as_ids);
}

std::optional<ApiError> finish_reading(Fields& fields, GenerationRequest& out) {
  const SamplingParams& sampling = out.engine.sampling;
  if (!sampling.logprob_tokens.empty() && sampling.num_logprobs < 0)
    fields.fail_with(
        bad_parameter("logprob_token_ids", "invalid_value",
                      "The 'logprob_token_ids' parameter is only allowed when 'logprobs' is enabled."));
  out.unread_fields = fields.unread();
  return fields.error();
}

std::optional<ApiError> encode_bad_words(const Tokenizer& tokenizer, GenerationRequest& request) {
  for (size_t i = 0; i < request.bad_words.size(); ++i) {
    // A word begins a text or follows a space, which are different tokens.
    for (const std::string& text : {request.bad_words[i], " " + request.bad_words[i]}) {
      const std::string param = fmt::format("bad_words[{}]", i);
      Result<std::vector<TokenId>> ids = tokenizer.encode(text, Specials::as_text);
      if (!ids) return to_api_error(ids.error(), param);
      if (ids->empty()) continue;
      if (ids->size() > kMaxBadWordTokens)
        return bad_parameter(param, "invalid_value",
                             fmt::format("Invalid '{}': a word of {} tokens; at most {} are allowed.", param,
                                         ids->size(), kMaxBadWordTokens));
      request.engine.sampling.bad_words.push_back(std::move(*ids));
    }
  }
  return std::nullopt;
}

namespace {

void truncate(const GenerationRequest& generation, const ModelLimits& limits, std::vector<int32_t>& prompt) {
  if (!generation.truncate_prompt) return;
  const int64_t reserved = std::clamp<int64_t>(generation.max_tokens.value_or(1), 0, limits.max_context - 1);
  const int64_t kept =
      *generation.truncate_prompt < 0 ? limits.max_context - reserved : *generation.truncate_prompt;
  const auto excess = static_cast<int64_t>(prompt.size()) - kept;
  if (excess <= 0) return;
  if (generation.keep == GenerationRequest::Keep::beginning)
    prompt.resize(static_cast<size_t>(kept));
  else
    prompt.erase(prompt.begin(), prompt.begin() + excess);
}

}  // namespace

ApiResult<Request> make_engine_request(const GenerationRequest& generation, std::vector<int32_t> prompt,
                                       const ModelLimits& limits, std::string_view prompt_param) {
  truncate(generation, limits, prompt);
  const auto prompt_len = static_cast<int64_t>(prompt.size());
  const int64_t room = limits.max_context - prompt_len;
  if (prompt.empty())
    return std::unexpected(
        bad_parameter(prompt_param, "invalid_value", "The prompt needs at least one token."));
  const int64_t wanted = generation.max_tokens.value_or(generation.default_max_tokens);
  if (room < 0 || (room == 0 && wanted > 0))
    return std::unexpected(context_overflow(prompt_param, prompt_len, limits.max_context));
  if (generation.max_tokens && wanted > room)
    return std::unexpected(
        max_tokens_overflow(generation.max_tokens_param, wanted, prompt_len, limits.max_context));
  const int64_t max_tokens = std::min(wanted, room);
  if (generation.engine.min_tokens > max_tokens)
    return std::unexpected(
        bad_parameter("min_tokens", "integer_above_max_value",
                      fmt::format("Invalid 'min_tokens': {} is more than the {} tokens that may be "
                                  "generated.",
                                  generation.engine.min_tokens, max_tokens)));
  Request request = generation.engine;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  return request;
}

}  // namespace pagoda
