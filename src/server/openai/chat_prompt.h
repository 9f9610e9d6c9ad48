// A chat -> the tokens of its prompt: template, then tokenizer.
#pragma once

#include <vector>

#include "server/openai/chat_request.h"
#include "server/served_model.h"

namespace pagoda {

// 400 if the model has no chat template, or the template refuses the messages.
ApiResult<std::vector<int32_t>> build_chat_prompt(const ServedModel& model, ChatRequest request);

}  // namespace pagoda
