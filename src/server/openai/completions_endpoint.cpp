// POST /v1/completions.
#include "server/endpoint.h"
#include "server/openai/completion_presenter.h"
#include "server/openai/completion_request.h"
#include "server/openai/generation.h"

namespace pagoda {
namespace {

std::string text_of(const Tokenizer& tokenizer, const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  std::string text;
  Detokenizer detokenizer(tokenizer, Detokenizer::SpecialText::show);
  for (const int32_t token : std::get<std::vector<int32_t>>(prompt)) detokenizer.push(token, text);
  detokenizer.finish(text);
  return text;
}

// A prompt that was cut is echoed as it was computed.
EchoedPrompt echoed(const Tokenizer& tokenizer, const Prompt& prompt, const EncodedPrompt& encoded,
                    const Request& request) {
  if (request.prompt.size() == encoded.tokens.size())
    return {text_of(tokenizer, prompt), encoded.tokens, encoded.starts_with_bos};
  return {text_of(tokenizer, request.prompt), request.prompt, false};
}

ApiResult<Generation> prepare_completion(AppContext& context, std::shared_ptr<const ServedModel> model,
                                         const std::string& body) {
  const ModelLimits limits = limits_of(*model);
  const Tokenizer& tokenizer = model->engine->tokenizer();
  ApiResult<CompletionRequest> request = parse_completion_request(body, limits);
  if (!request) return std::unexpected(std::move(request).error());
  GenerationRequest& generation = request->generation;
  ApiResult<AnswerInfo> info = make_answer_info(context, model, generation, "cmpl-");
  if (!info) return std::unexpected(std::move(info).error());
  generation.engine.external_id = info->id;
  info->wants_logprobs = request->wants_logprobs;
  info->num_returned = request->num_returned;
  info->max_top_logprobs = max_top_logprobs(generation.engine.sampling);
  if (auto error = encode_bad_words(tokenizer, generation)) return std::unexpected(std::move(*error));
  auto constraint = compile_structured_output(model->constraints, generation.structured_output);
  if (!constraint) return std::unexpected(std::move(constraint).error());
  generation.engine.constraint = std::move(*constraint);

  const Bos bos_rule = generation.add_special_tokens.value_or(true) ? Bos::as_the_model : Bos::never;
  Generation result;
  std::vector<EchoedPrompt> echo;
  for (const Prompt& prompt : request->prompts) {
    ApiResult<EncodedPrompt> encoded = encode_prompt(tokenizer, prompt, bos_rule, "prompt");
    if (!encoded) return std::unexpected(std::move(encoded).error());
    ApiResult<Request> engine_request = make_engine_request(generation, encoded->tokens, limits, "prompt");
    if (!engine_request) return std::unexpected(std::move(engine_request).error());
    add_prompt(*info, *engine_request);
    if (request->echo) echo.push_back(echoed(tokenizer, prompt, *encoded, *engine_request));
    result.requests.push_back(std::move(*engine_request));
  }
  const size_t num_prompts = result.requests.size();
  if (generation.return_token_ids) result.token_ids = TokenIds::keep;
  result.presenter = generation.stream
                         ? make_completion_stream(std::move(*info), num_prompts, std::move(echo))
                         : make_completion_answer(std::move(*info), num_prompts, std::move(echo));
  return result;
}

}  // namespace

Answer post_completions(AppContext& context, HttpRequest request) {
  return start_generation(context, std::move(request), prepare_completion);
}

}  // namespace pagoda
