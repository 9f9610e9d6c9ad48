// POST /v1/chat/completions.
#include "server/endpoint.h"
#include "server/openai/chat_generation.h"
#include "server/openai/chat_presenter.h"
#include "server/openai/generation.h"

namespace pagoda {
namespace {

ApiResult<Generation> prepare_chat(AppContext& context, std::shared_ptr<const ServedModel> model,
                                   const std::string& body) {
  ApiResult<ChatRequest> request = parse_chat_request(body, limits_of(*model));
  if (!request) return std::unexpected(std::move(request).error());
  const bool streams = request->generation.stream;
  return prepare_chat_generation(
      context, std::move(model), std::move(*request), "chatcmpl-", "messages", [streams](AnswerInfo info) {
        return streams ? make_chat_stream(std::move(info)) : make_chat_answer(std::move(info));
      });
}

}  // namespace

Answer post_chat_completions(AppContext& context, HttpRequest request) {
  return start_generation(context, std::move(request), prepare_chat);
}

}  // namespace pagoda
