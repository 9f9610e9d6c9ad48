// The objects of the Responses API: responses and their output items.
#pragma once

#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "server/openai/answer_info.h"
#include "server/openai/chat_output.h"

namespace pagoda {

enum class ResponseStatus { in_progress, completed, incomplete, failed };

// usage is null while a response is in progress.
boost::json::object response_json(const AnswerInfo& info, const boost::json::object& echo,
                                  ResponseStatus status, boost::json::array output, const Usage& usage);

// {"type": "output_text", …} or {"type": "reasoning_text", …}
boost::json::object text_part(OutputDelta::Kind kind, std::string_view text,
                              boost::json::array logprobs = {});
// An item of text: a message or a reasoning section. Without parts if `text` is a nullptr (it has just
// begun).
boost::json::object text_item(OutputDelta::Kind kind, std::string_view id, std::string_view status,
                              const std::string* text, boost::json::array logprobs = {});
boost::json::object call_item(std::string_view id, std::string_view status, const ToolCall& call);

// "msg_…", "rs_…", "fc_…": ids of items, by their place in the output.
std::string item_id(const AnswerInfo& info, OutputDelta::Kind kind, size_t index);

}  // namespace pagoda
