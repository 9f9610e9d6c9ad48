// POST /v1/chat/completions.
#include "server/endpoint.h"
#include "server/openai/chat_presenter.h"
#include "server/openai/chat_prompt.h"
#include "server/openai/chat_request.h"
#include "server/openai/generation.h"

namespace pagoda {
namespace {

void prepend_bos(const Tokenizer& tokenizer, std::vector<int32_t>& prompt) {
  const TokenId bos = tokenizer.bos_id();
  if (bos >= 0 && (prompt.empty() || prompt.front() != bos)) prompt.insert(prompt.begin(), bos);
}

ApiResult<Generation> prepare_chat(AppContext& context, std::shared_ptr<const ServedModel> model,
                                   const std::string& body) {
  const ModelLimits limits = limits_of(*model);
  ApiResult<ChatRequest> request = parse_chat_request(body, limits);
  if (!request) return std::unexpected(std::move(request).error());
  ApiResult<AnswerInfo> info = make_answer_info(context, model, request->generation, "chatcmpl");
  if (!info) return std::unexpected(std::move(info).error());
  GenerationRequest generation = std::move(request->generation);
  if (auto error = encode_bad_words(model->engine->tokenizer(), generation))
    return std::unexpected(std::move(*error));
  ApiResult<std::vector<int32_t>> prompt = build_chat_prompt(*model, std::move(*request));
  if (!prompt) return std::unexpected(std::move(prompt).error());
  if (generation.add_special_tokens.value_or(false)) prepend_bos(model->engine->tokenizer(), *prompt);
  generation.engine.external_id = info->id;
  ApiResult<Request> engine_request = make_engine_request(generation, std::move(*prompt), limits, "messages");
  if (!engine_request) return std::unexpected(std::move(engine_request).error());

  add_prompt(*info, *engine_request);

  Generation result;
  if (generation.return_token_ids) result.token_ids = TokenIds::keep;
  result.requests.push_back(std::move(*engine_request));
  result.presenter =
      generation.stream ? make_chat_stream(std::move(*info)) : make_chat_answer(std::move(*info));
  return result;
}

}  // namespace

Answer post_chat_completions(AppContext& context, HttpRequest request) {
  return start_generation(context, std::move(request), prepare_chat);
}

}  // namespace pagoda
