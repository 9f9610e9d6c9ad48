// A chat -> the tokens of its prompt: template, then tokenizer.
#pragma once

#include <string>
#include <vector>

#include "server/openai/chat_request.h"
#include "server/served_model.h"

namespace pagoda {

// The template's text, with special tokens' texts of the client's marked by the model's shield. 400 if the
// model has no chat template, or the template refuses the messages.
ApiResult<std::string> render_chat_prompt(const ServedModel& model, ChatRequest request);
ApiResult<std::vector<int32_t>> build_chat_prompt(const ServedModel& model, ChatRequest request);

}  // namespace pagoda
