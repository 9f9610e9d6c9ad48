// A model that is ready to answer, and what the API needs to know of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/openai/special_shield.h"
#include "server/output/output_parser.h"
#include "text/chat_template.h"
#include "text/constraint.h"

namespace pagoda {

// Immutable once served; shared by all threads.
struct ServedModel {
  std::vector<std::string> names;  // that requests may use; the first is shown. At least one
  std::unique_ptr<Engine> engine;  // started
  std::optional<ChatTemplate> chat_template;
  SpecialShield shield;            // of the engine's tokenizer
  ConstraintCompiler constraints;  // likewise
  OutputFormat output_format;
  SamplingParams default_sampling;  // where a request does not say
  int64_t created = 0;              // Unix seconds
  std::string fingerprint;          // changes when model or build do
};

// Fills in the parts that follow from the engine.
ServedModel make_served_model(std::vector<std::string> names, std::unique_ptr<Engine> engine,
                              std::optional<ChatTemplate> chat_template, SamplingParams default_sampling = {},
                              OutputFormat output_format = {});

}  // namespace pagoda
