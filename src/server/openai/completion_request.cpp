#include "server/openai/completion_request.h"

#include <algorithm>

#include <boost/json.hpp>

#include "server/openai/json_body.h"

namespace pagoda {
namespace json = boost::json;

namespace {

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
  read_completion_fields(fields, limits, generation);
  fields.boolean("echo", request.echo);
  const bool looks_at_prompt = request.echo || generation.num_prompt_logprobs;
  read_n_predict(fields, generation);
  read_running_reports(fields, generation);
  fields.integer("max_tokens", {.min = looks_at_prompt ? 0 : 1}, generation.max_tokens);
  fields.integer("logprobs", {.min = 0, .max = kMaxLogprobs}, generation.engine.sampling.num_logprobs);
  request.wants_logprobs = generation.engine.sampling.num_logprobs >= 0;
  read_best_of(fields, limits, request);
  refuse_suffix(fields);
  refuse_unsupported(fields);
  read_prompts(fields, "prompt", limits, kMaxPrompts, request.prompts);
  if (auto error = finish_reading(fields, generation)) return std::unexpected(std::move(*error));
  if (request.echo && request.wants_logprobs) generation.engine.want_prompt_logprobs = true;
  if (request.num_returned < generation.engine.num_sequences)
    generation.engine.sampling.num_logprobs = std::max(generation.engine.sampling.num_logprobs, 0);
  return request;
}

}  // namespace pagoda
