// One request from a prompt to its last token, stepping the engine on the calling thread.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/arguments.h"
#include "engine/engine.h"

namespace pagoda {

struct Completion {
  std::string text;
  std::vector<int32_t> ids;  // an end token included
  FinishReason finish = FinishReason::error;
  RequestTimings timings;
};

// Streams whole characters to on_text as they come. When `interrupt` becomes true the request ends with
// `cancelled`; the flag may be set by a signal handler. Errors are the engine's.
Result<Completion> complete(Engine& engine, Request request,
                            const std::function<void(std::string_view)>& on_text,
                            const std::atomic<bool>& interrupt);

// The text of a FinishReason as the API has it: "stop", "length", "cancelled", "error".
std::string_view to_string(FinishReason reason);

// Where an argument is given it wins over the model's default in `params`.
void apply(const SamplingArguments& arguments, SamplingParams& params);

}  // namespace pagoda
