// What chat and text completions have in common: model, sampling, limits, stops and streaming.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <boost/json/object.hpp>

#include "engine/request.h"
#include "server/openai/fields.h"

namespace pagoda {

// Bounds that depend on the served model.
struct ModelLimits {
  int64_t vocab_size = 0;
};

inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 1024;  // of one stop string
inline constexpr int64_t kMaxChoices = 128;

struct GenerationRequest {
  std::string model;  // empty: whatever is served
  Request engine;     // all but prompt, external_id and max_tokens
  std::optional<int64_t> max_tokens;
  std::string max_tokens_param = "max_tokens";  // the name the client used
  bool stream = false;
  bool include_usage = false;
};

// Reads the common fields; errors stay in `fields`.
void read_generation_fields(Fields& fields, const ModelLimits& limits, GenerationRequest& out);

}  // namespace pagoda
