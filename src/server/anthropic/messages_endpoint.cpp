// POST /v1/messages and /v1/messages/count_tokens: Anthropic's API.
#include <boost/json.hpp>

#include "server/anthropic/anthropic_error.h"
#include "server/anthropic/messages_presenter.h"
#include "server/anthropic/messages_request.h"
#include "server/endpoint.h"
#include "server/openai/chat_generation.h"
#include "server/openai/chat_prompt.h"
#include "server/openai/generation.h"
#include "server/worker_operation.h"

namespace pagoda {
namespace {

ApiResult<Generation> prepare_messages(AppContext& context, std::shared_ptr<const ServedModel> model,
                                       const std::string& body) {
  ApiResult<ChatRequest> request = parse_messages_request(body, limits_of(*model), MessagesPurpose::generate);
  if (!request) return std::unexpected(std::move(request).error());
  const bool streams = request->generation.stream;
  return prepare_chat_generation(
      context, std::move(model), std::move(*request), "msg_", "messages", [streams](AnswerInfo info) {
        return streams ? make_messages_stream(std::move(info)) : make_messages_answer(std::move(info));
      });
}

ApiResult<size_t> count_tokens(AppContext& context, const ServedModel& model, const std::string& body) {
  ApiResult<ChatRequest> request =
      parse_messages_request(body, limits_of(model), MessagesPurpose::count_tokens);
  if (!request) return std::unexpected(std::move(request).error());
  if (auto error = check_model_name(model, request->generation.model))
    return std::unexpected(std::move(*error));
  context.unread_fields.count(request->generation.unread_fields, "count_tokens");
  const ApiResult<std::vector<int32_t>> prompt = build_chat_prompt(model, std::move(*request));
  if (!prompt) return std::unexpected(prompt.error());
  return prompt->size();
}

}  // namespace

Answer post_messages(AppContext& context, HttpRequest request) {
  return start_generation(context, std::move(request), prepare_messages, to_anthropic_error);
}

Answer post_count_tokens(AppContext& context, HttpRequest request) {
  const auto compute = [&context, model = context.model.get(), body = std::move(request.body)] {
    const ApiResult<size_t> count = count_tokens(context, *model, body);
    if (!count) return to_anthropic_error(to_response(count.error()));
    return HttpResponse{.body = boost::json::serialize(boost::json::object{{"input_tokens", *count}})};
  };
  return answer_on_worker(context.workers, compute);
}

}  // namespace pagoda
