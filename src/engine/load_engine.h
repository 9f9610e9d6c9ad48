// From a path to an engine that is ready to start: the one way in for the server and the command line.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/engine_config.h"
#include "model/generation_defaults.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace pagoda {

// Called on the loading thread with 0 … 1.
struct LoadProgress {
  void (*report)(void* context, double fraction) = nullptr;
  void* context = nullptr;
};

struct LoadedEngine {
  std::unique_ptr<Engine> engine;  // not started
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate>
      chat_template;  // none if the model has none, or one that does not compile (logged)
  GenerationDefaults defaults;
  std::vector<TokenId> end_tokens;  // of the defaults and the tokenizer, ascending
  std::vector<std::string> banner;  // lines for people: model, kernels, memory
};

// `isa`: as choose_isa() takes it. Errors are sentences for users: what is wrong with the model, the options
// or the machine. Weights that do not fit the memory budget are refused before they are packed.
Result<LoadedEngine> load_engine(const std::string& model_path, const EngineOptions& options,
                                 std::string_view isa, LoadProgress progress);

// Sampling as the model's makers want it: what holds where a request does not say.
SamplingParams default_sampling(const GenerationDefaults& defaults);

}  // namespace pagoda
