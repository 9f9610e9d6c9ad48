// POST /v1/chat/completions: body -> struct.
#pragma once

#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "server/openai/generation_request.h"

namespace pagoda {

struct ChatRequest {
  GenerationRequest generation;
  boost::json::array
      messages;  // as templates want them: `content` a string or absent, tool arguments as objects
  boost::json::array tools;  // as sent; empty if there are none or tool_choice is "none"
  boost::json::object template_kwargs;
  bool add_generation_prompt = true;
  bool continue_final_message = false;
};

ApiResult<ChatRequest> parse_chat_request(std::string_view body, const ModelLimits& limits);

}  // namespace pagoda
