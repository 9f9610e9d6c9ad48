#include "server/served_model.h"

#include <ctime>

#include "base/check.h"
#include "server/version.h"

namespace pagoda {
namespace {

// FNV-1a: a label, not a secret.
uint32_t short_hash(std::string_view text) {
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

}  // namespace

ServedModel make_served_model(std::vector<std::string> names, std::unique_ptr<Engine> engine,
                              std::optional<ChatTemplate> chat_template, SamplingParams default_sampling,
                              OutputFormat output_format) {
  PAGODA_CHECK(!names.empty(), "a served model needs a name");
  const ModelInfo& info = engine->model_info();
  const std::string identity = fmt::format("{}/{}/{}/{}/{}", kVersion, info.architecture, info.name,
                                           info.num_parameters, info.weight_bytes);
  SpecialShield shield(engine->tokenizer());
  ConstraintCompiler constraints(engine->tokenizer(),
                                 {engine->end_tokens().begin(), engine->end_tokens().end()});
  return {.names = std::move(names),
          .engine = std::move(engine),
          .chat_template = std::move(chat_template),
          .shield = std::move(shield),
          .constraints = std::move(constraints),
          .output_format = output_format,
          .default_sampling = std::move(default_sampling),
          .created = static_cast<int64_t>(std::time(nullptr)),
          .fingerprint = fmt::format("b{}-{:08x}", kVersion, short_hash(identity))};
}

}  // namespace pagoda
