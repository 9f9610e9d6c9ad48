// What a request must be before it may enter the engine.
#pragma once

#include "engine/engine_config.h"
#include "engine/request.h"

namespace pagoda {

// invalid_argument naming the parameter, as submit() promises.
Status check_request(const Request& request, const EngineConfig& config, int64_t vocab_size);

}  // namespace pagoda
