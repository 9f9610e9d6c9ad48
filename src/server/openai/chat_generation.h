// What the chat APIs (chat completions, responses, messages) share: a ChatRequest -> a Generation.
#pragma once

#include <functional>
#include <memory>

#include "server/app_context.h"
#include "server/openai/answer_info.h"
#include "server/openai/chat_request.h"
#include "server/openai/generation_operation.h"

namespace pagoda {

// The answer's form; is called with all that is known of the request, streamed or not as it asks.
using MakePresenter = std::function<std::unique_ptr<Presenter>(AnswerInfo)>;

// `id_prefix`: of the answer's id; `prompt_param`: named in errors about the prompt.
ApiResult<Generation> prepare_chat_generation(AppContext& context, std::shared_ptr<const ServedModel> model,
                                              ChatRequest request, std::string_view id_prefix,
                                              std::string_view prompt_param, const MakePresenter& make);

}  // namespace pagoda
