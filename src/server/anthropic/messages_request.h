// POST /v1/messages and /v1/messages/count_tokens: body -> ChatRequest.
#pragma once

#include <string_view>

#include "server/openai/chat_request.h"

namespace pagoda {

enum class MessagesPurpose { generate, count_tokens };

// A last message of the assistant is gone on with. Text blocks of a message are joined by line ends; results
// of tools become messages of their own.
ApiResult<ChatRequest> parse_messages_request(std::string_view body, const ModelLimits& limits,
                                              MessagesPurpose purpose);

}  // namespace pagoda
