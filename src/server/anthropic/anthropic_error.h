// Errors as Anthropic's clients expect them: {"type": "error", "error": {"type", "message"}}.
#pragma once

#include <string>

#include "server/openai/api_error.h"

namespace pagoda {

std::string to_anthropic_json(const ApiError& error);
// An error in OpenAI's shape -> the same in Anthropic's. Other bodies stay.
HttpResponse to_anthropic_error(HttpResponse response);

}  // namespace pagoda
