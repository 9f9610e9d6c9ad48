#include "server/openai/generation_request.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

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

void read_logit_bias(Fields& fields, const ModelLimits& limits, SamplingParams& out) {
  const json::object* biases = fields.object("logit_bias");
  if (!biases) return;
  if (biases->size() > kMaxLogitBiases)
    return fields.fail_with(
        bad_parameter("logit_bias", "object_above_max_properties",
                      fmt::format("Invalid 'logit_bias': at most {} tokens can be biased, but got "
                                  "{}.",
                                  kMaxLogitBiases, biases->size())));
  Fields values(*biases, "logit_bias.");
  for (const auto& [key, value] : *biases) {
    const std::optional<int32_t> id = parse_token_id(key, limits.vocab_size);
    if (!id)
      return fields.fail_with(
          bad_parameter("logit_bias", "invalid_value",
                        fmt::format("Invalid 'logit_bias': '{}' is not a token id of this model "
                                    "(0 to {}).",
                                    std::string_view(key), limits.vocab_size - 1)));
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

void read_stream_options(Fields& fields, GenerationRequest& out) {
  const json::object* options = fields.object("stream_options");
  if (!options) return;
  if (!out.stream)
    return fields.fail_with(
        bad_parameter("stream_options", "invalid_value",
                      "The 'stream_options' parameter is only allowed when 'stream' is enabled."));
  Fields inner(*options, "stream_options.");
  inner.boolean("include_usage", out.include_usage);
  if (const auto& error = inner.error()) fields.fail_with(*error);
}

}  // namespace

void read_generation_fields(Fields& fields, const ModelLimits& limits, GenerationRequest& out) {
  out.engine.sampling = limits.default_sampling;
  fields.string("model", out.model);
  fields.boolean("stream", out.stream);
  read_stream_options(fields, out);
  read_sampling(fields, limits, out.engine.sampling);
  fields.integer("n", {.min = 1, .max = limits.max_choices}, out.engine.num_sequences);
  fields.integer("min_tokens", {.min = 0}, out.engine.min_tokens);
  fields.integer("priority", {.min = -kMaxInt32, .max = kMaxInt32}, out.engine.priority);
  read_stop(fields, out.engine.stop);
  fields.integers("stop_token_ids", {.min = 0, .max = limits.vocab_size - 1}, kMaxStopTokens,
                  out.engine.stop_token_ids);
  fields.boolean("include_stop_str_in_output", out.engine.include_stop_in_output);
  fields.boolean("ignore_eos", out.engine.ignore_eos);
  fields.boolean("skip_special_tokens", out.engine.skip_special_tokens);
  std::string user;
  fields.string("user", user);
}

ApiResult<Request> make_engine_request(const GenerationRequest& generation, std::vector<int32_t> prompt,
                                       const ModelLimits& limits, std::string_view prompt_param) {
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
