// Bodies of /v1/chat/completions and /v1/completions: the first byte chooses. Whatever parses keeps its
// promises.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"

namespace {

using namespace pagoda;

const ModelLimits kLimits{.vocab_size = 1000, .max_context = 256, .max_choices = 128};

void check_common(const GenerationRequest& request) {
  const Status valid = validate(request.engine.sampling, kLimits.vocab_size);
  PAGODA_CHECK(valid.has_value(), "{}", valid.error().message);
  PAGODA_CHECK(request.engine.num_sequences >= 1 && request.engine.num_sequences <= kLimits.max_choices);
  PAGODA_CHECK(request.engine.stop.size() <= kMaxStopStrings);
  PAGODA_CHECK(request.max_tokens.value_or(0) >= 0);
  const ApiResult<Request> engine_request = make_engine_request(request, {1, 2, 3}, kLimits, "prompt");
  if (engine_request) PAGODA_CHECK(engine_request->max_tokens + 3 <= kLimits.max_context);
}

void check_error(const ApiError& error) {
  PAGODA_CHECK(error.status == 400 && !error.message.empty() && error.code);
  PAGODA_CHECK(to_json(error).starts_with("{\"error\":{\"message\":"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    const ApiResult<ChatRequest> request = parse_chat_request(body, kLimits);
    if (!request) return check_error(request.error()), 0;
    check_common(request->generation);
    PAGODA_CHECK(!request->messages.empty());
  } else {
    const ApiResult<CompletionRequest> request = parse_completion_request(body, kLimits);
    if (!request) return check_error(request.error()), 0;
    check_common(request->generation);
    PAGODA_CHECK(!request->prompts.empty() && request->prompts.size() <= kMaxPrompts);
  }
  return 0;
}
