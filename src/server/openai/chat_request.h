// POST /v1/chat/completions: body -> struct.
#pragma once

#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "server/openai/generation_request.h"
#include "server/openai/tool_use.h"

namespace pagoda {

struct ChatRequest {
  GenerationRequest generation;
  boost::json::array
      messages;  // as templates want them: `content` a string or absent, tool arguments as objects
  ToolUse tools;
  boost::json::object template_kwargs;
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  bool echo = false;  // vLLM's: the answer begins with the last message, if that is the assistant's
  bool include_reasoning = true;   // show the thinking section
  bool separate_reasoning = true;  // find it; else it is part of the content, with its markers
};

// The effort by OpenAI's words (`none` … `max`), for the template as `reasoning_effort`. Arguments that it
// has already stay, here and below.
void read_effort(Fields& fields, std::string_view name, boost::json::object& template_kwargs);
// The same, and any effort but `none` asks for thinking: `enable_thinking`.
void read_reasoning_effort(Fields& fields, std::string_view name, boost::json::object& template_kwargs);
// OpenAI's `verbosity`, for the template.
void read_verbosity(Fields& fields, boost::json::object& template_kwargs);
// include_reasoning and separate_reasoning, of all chat APIs.
void read_reasoning_switches(Fields& fields, ChatRequest& out);
// add_generation_prompt, continue_final_message, echo, chat_template_kwargs and documents.
void read_template_options(Fields& fields, ChatRequest& out);
// complete: of /v1/chat/completions, where a list of tools must not be empty and a choice needs one, as in
// OpenAI's API. render: of the endpoints that only look at the prompt, for which an empty list is no tools.
enum class ChatPurpose { complete, render };
ApiResult<ChatRequest> parse_chat_request(std::string_view body, const ModelLimits& limits,
                                          ChatPurpose purpose = ChatPurpose::complete);

}  // namespace pagoda
