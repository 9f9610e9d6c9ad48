// How a model's makers want it sampled: which tokens end an answer, and settings that a request may override.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "io/model_file.h"

namespace pagoda {

struct GenerationDefaults {
  std::vector<int32_t> end_ids;  // ascending, without duplicates; may be empty
  std::optional<int32_t> bos_id;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int64_t> top_k;
  std::optional<double> repetition_penalty;
};

// Hugging Face folders: generation_config.json, where there is one, and config.json; values that are no valid
// settings are ignored. GGUF files: the end ids of the metadata and the tokens that are known to end a turn.
// `corrupt` if a side file is no JSON.
Result<GenerationDefaults> load_generation_defaults(const ModelFile& file);

}  // namespace pagoda
