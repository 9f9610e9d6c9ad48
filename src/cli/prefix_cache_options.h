// Options of what outlives a request in the KV cache.
#pragma once

#include <CLI/CLI.hpp>

#include "engine/engine_config.h"

namespace pagoda {

void add_prefix_cache_options(CLI::App& app, EngineOptions& options);

}  // namespace pagoda
