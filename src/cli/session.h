// A loaded engine with what run, chat and serve need around it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "engine/engine.h"
#include "engine/load_engine.h"
#include "text/chat_template.h"

namespace pagoda {

// The environment variable PAGODA_ISA; empty where it is not set.
const char* forced_isa();

// `base` with what every command can set.
EngineOptions engine_options(const ModelArguments& arguments, EngineOptions base = {});

// Finds the model (model_path.h) and loads it, with a progress bar.
Result<LoadedEngine> load_with_progress(const std::string& model, const EngineOptions& options);

struct ChatMessage {
  std::string role;
  std::string content;
};

struct Session {
  std::unique_ptr<Engine> engine;  // not started: the caller steps
  std::optional<ChatTemplate> chat_template;
  SamplingParams sampling;  // the model's defaults
};

// Loads the model for one sequence at a time.
Result<Session> open_session(const ModelArguments& arguments);

// A request for a plain continuation.
Result<Request> make_request(const Session& session, const std::string& prompt);
// A request for the answer to a conversation: unsupported if the model has no template, invalid_argument if
// the template refuses the messages.
Result<Request> make_request(const Session& session, const std::vector<ChatMessage>& messages);

}  // namespace pagoda
