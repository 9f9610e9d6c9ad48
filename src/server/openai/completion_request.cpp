#include "server/openai/completion_request.h"

#include <algorithm>

#include <boost/json.hpp>

#include "server/openai/json_body.h"

namespace pagoda {
namespace json = boost::json;

namespace {

ApiResult<std::vector<int32_t>> token_list(const json::array& ids, const std::string& param,
                                           const ModelLimits& limits) {
  std::vector<int32_t> tokens;
  tokens.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const ApiResult<int64_t> id =
        checked_integer(ids[i], fmt::format("{}[{}]", param, i), {.min = 0, .max = limits.vocab_size - 1});
    if (!id) return std::unexpected(id.error());
    tokens.push_back(static_cast<int32_t>(*id));
  }
  return tokens;
}

ApiError empty_prompt(const std::string& param) {
  return bad_parameter(param, "invalid_value",
                       fmt::format("Invalid '{}': a prompt needs at least one token.", param));
}

// A list is one prompt of token ids, or several prompts of either kind.
void read_prompt_list(Fields& fields, const json::array& list, const ModelLimits& limits,
                      std::vector<Prompt>& out) {
  if (list.empty()) return fields.fail_with(empty_prompt("prompt"));
  if (list[0].is_number()) {
    ApiResult<std::vector<int32_t>> tokens = token_list(list, "prompt", limits);
    if (!tokens) return fields.fail_with(tokens.error());
    out.emplace_back(std::move(*tokens));
    return;
  }
  if (list.size() > kMaxPrompts)
    return fields.fail_with(
        bad_parameter("prompt", "array_above_max_length",
                      fmt::format("Invalid 'prompt': array too long. Expected at most {} prompts, "
                                  "but got {} instead.",
                                  kMaxPrompts, list.size())));
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string param = fmt::format("prompt[{}]", i);
    if (list[i].is_string()) {
      out.emplace_back(std::string(list[i].get_string()));
    } else if (list[i].is_array()) {
      ApiResult<std::vector<int32_t>> tokens = token_list(list[i].get_array(), param, limits);
      if (!tokens) return fields.fail_with(tokens.error());
      if (tokens->empty()) return fields.fail_with(empty_prompt(param));
      out.emplace_back(std::move(*tokens));
    } else {
      return fields.fail_with(wrong_type(param, "a string or an array of token ids", list[i]));
    }
  }
}

void read_prompt(Fields& fields, const ModelLimits& limits, std::vector<Prompt>& out) {
  const json::value* prompt = fields.any("prompt");
  if (!prompt) return fields.fail_with(missing_parameter("prompt"));
  if (prompt->is_string())
    out.emplace_back(std::string(prompt->get_string()));
  else if (prompt->is_array())
    read_prompt_list(fields, prompt->get_array(), limits, out);
  else
    fields.fail_with(wrong_type("prompt", "a string or an array", *prompt));
}

// More sequences are generated than are returned; their log probabilities decide.
void read_best_of(Fields& fields, const ModelLimits& limits, CompletionRequest& out) {
  GenerationRequest& generation = out.generation;
  const int32_t n = generation.engine.num_sequences;
  int32_t best_of = n;
  out.num_returned = n;
  fields.integer("best_of", {.min = 1, .max = limits.max_choices}, best_of);
  if (best_of == n) return;
  if (best_of < n)
    fields.fail_with(bad_parameter("best_of", "integer_below_min_value",
                                   fmt::format("Invalid 'best_of': {} is less than 'n' ({}).", best_of, n)));
  if (generation.stream)
    fields.fail_with(bad_parameter("best_of", "invalid_value",
                                   "'best_of' above 'n' is not available when 'stream' is enabled."));
  generation.engine.num_sequences = best_of;
}

void refuse_suffix(Fields& fields) {
  std::string suffix;
  fields.string("suffix", suffix);
  if (!suffix.empty())
    fields.fail_with(unsupported_parameter(
        "suffix", "'suffix' is not supported: this server completes text at its end only."));
}

void refuse_unsupported(Fields& fields) {
  for (const char* name : {"prompt_embeds"})
    if (fields.any(name))
      fields.fail_with(
          unsupported_parameter(name, fmt::format("'{}' is not supported by this server.", name)));
}

}  // namespace

ApiResult<CompletionRequest> parse_completion_request(std::string_view body, const ModelLimits& limits) {
  ApiResult<json::object> object = parse_json_object(body);
  if (!object) return std::unexpected(std::move(object).error());
  Fields fields(*object);
  CompletionRequest request;
  GenerationRequest& generation = request.generation;
  generation.default_max_tokens = 16;
  read_generation_fields(fields, limits, generation);
  fields.boolean("echo", request.echo);
  const bool looks_at_prompt = request.echo || generation.num_prompt_logprobs;
  fields.integer("max_tokens", {.min = looks_at_prompt ? 0 : 1}, generation.max_tokens);
  fields.integer("logprobs", {.min = 0, .max = kMaxLogprobs}, generation.engine.sampling.num_logprobs);
  request.wants_logprobs = generation.engine.sampling.num_logprobs >= 0;
  read_best_of(fields, limits, request);
  refuse_suffix(fields);
  refuse_unsupported(fields);
  read_prompt(fields, limits, request.prompts);
  if (auto error = finish_reading(fields, generation)) return std::unexpected(std::move(*error));
  if (request.echo && request.wants_logprobs) generation.engine.want_prompt_logprobs = true;
  if (request.num_returned < generation.engine.num_sequences)
    generation.engine.sampling.num_logprobs = std::max(generation.engine.sampling.num_logprobs, 0);
  return request;
}

}  // namespace pagoda
