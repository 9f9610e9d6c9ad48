// POST /v1/responses.
#include <boost/json.hpp>

#include "server/endpoint.h"
#include "server/openai/chat_generation.h"
#include "server/openai/generation.h"
#include "server/openai/responses_presenter.h"
#include "server/openai/responses_request.h"

namespace pagoda {
namespace {

ApiResult<Generation> prepare_response(AppContext& context, std::shared_ptr<const ServedModel> model,
                                       const std::string& body) {
  ApiResult<ResponsesRequest> request = parse_responses_request(body, limits_of(*model));
  if (!request) return std::unexpected(std::move(request).error());
  const bool streams = request->chat.generation.stream;
  return prepare_chat_generation(context, std::move(model), std::move(request->chat), "resp_", "input",
                                 [streams, echo = std::move(request->echo)](AnswerInfo info) {
                                   return streams ? make_response_stream(std::move(info), echo)
                                                  : make_response_answer(std::move(info), echo);
                                 });
}

}  // namespace

Answer post_responses(AppContext& context, HttpRequest request) {
  return start_generation(context, std::move(request), prepare_response);
}

}  // namespace pagoda
