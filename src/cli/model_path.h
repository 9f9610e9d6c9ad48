// What --model means.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace pagoda {

// The folder of downloaded models: $PAGODA_MODELS, or $XDG_CACHE_HOME/pagoda/models, or
// ~/.cache/pagoda/models.
std::string model_cache_folder();

// A path that exists is itself. Another name without '/' is looked up in the folder: letters and digits of
// the name must begin those of exactly one entry, case aside ("smollm2-135m" finds
// SmolLM2-135M-Instruct.Q4_1.gguf). not_found says where was looked and what is there.
Result<std::string> find_model(const std::string& name, const std::string& folder);

}  // namespace pagoda
