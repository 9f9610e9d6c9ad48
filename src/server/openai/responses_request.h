// POST /v1/responses: body -> ChatRequest. Stateless: nothing is kept between requests.
#pragma once

#include <string_view>

#include <boost/json/object.hpp>

#include "server/openai/chat_request.h"

namespace pagoda {

struct ResponsesRequest {
  ChatRequest chat;
  boost::json::object echo;  // what the response repeats of its request: instructions, tools, …
};

ApiResult<ResponsesRequest> parse_responses_request(std::string_view body, const ModelLimits& limits);

}  // namespace pagoda
