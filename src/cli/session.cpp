#include "cli/session.h"

#include <cstdlib>

#include <boost/json.hpp>

#include "cli/json.h"
#include "cli/model_path.h"
#include "cli/terminal.h"

namespace pagoda {

namespace {

Result<std::string> render(const Session& session, const std::vector<ChatMessage>& messages) {
  if (!session.chat_template)
    return fail(ErrorCode::unsupported,
                "this model has no chat template; 'pagoda run' without --chat continues text");
  const Tokenizer& tokenizer = session.engine->tokenizer();
  boost::json::array list;
  for (const ChatMessage& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  const std::string context = to_json({{"messages", std::move(list)},
                                       {"add_generation_prompt", true},
                                       {"bos_token", tokenizer.token_text(tokenizer.bos_id())},
                                       {"eos_token", tokenizer.token_text(tokenizer.eos_id())},
                                       {"pad_token", tokenizer.token_text(tokenizer.pad_id())}});
  return session.chat_template->render(context);
}

// Everything but the prompt.
Request base_request(const Session& session) {
  Request request;
  request.sampling = session.sampling;
  request.max_tokens = session.engine->config().max_context;
  return request;
}

}  // namespace

const char* forced_isa() {
  const char* forced = std::getenv("PAGODA_ISA");
  return forced == nullptr ? "" : forced;
}

EngineOptions engine_options(const ModelArguments& arguments, EngineOptions base) {
  base.num_threads = arguments.num_threads;
  base.memory_bytes = arguments.memory_bytes;
  base.max_context = arguments.max_context;
  base.kv_type = arguments.kv_type;
  base.float_activations = arguments.float_activations;
  base.packed_cache = arguments.packed_cache;
  base.min_screened_weights = arguments.min_screened_weights;
  return base;
}

Result<LoadedEngine> load_with_progress(const std::string& model, const EngineOptions& options) {
  PAGODA_TRY(const std::string path, find_model(model, model_cache_folder()));
  Progress progress("loading");
  return load_engine(path, options, forced_isa(), {.report = &Progress::callback, .context = &progress});
}

Result<Session> open_session(const ModelArguments& arguments) {
  init_logging(arguments.log_level.value_or(LogLevel::warning));
  EngineOptions one_sequence;
  one_sequence.max_sequences = 1;
  PAGODA_TRY(LoadedEngine loaded,
             load_with_progress(arguments.model, engine_options(arguments, one_sequence)));
  for (const std::string& line : loaded.banner) PAGODA_INFO("{}", line);
  return Session{std::move(loaded.engine), std::move(loaded.chat_template),
                 default_sampling(loaded.defaults)};
}

Result<Request> make_request(const Session& session, const std::string& prompt) {
  const Tokenizer& tokenizer = session.engine->tokenizer();
  Request request = base_request(session);
  PAGODA_TRY(request.prompt, tokenizer.encode(prompt, Specials::parse));
  if (tokenizer.adds_bos() && tokenizer.bos_id() >= 0)
    request.prompt.insert(request.prompt.begin(), tokenizer.bos_id());
  if (request.prompt.empty())
    return fail(ErrorCode::invalid_argument, "the prompt is empty; give it some text");
  return request;
}

Result<Request> make_request(const Session& session, const std::vector<ChatMessage>& messages) {
  Request request = base_request(session);
  PAGODA_TRY(const std::string text, render(session, messages));
  PAGODA_TRY(request.prompt, session.engine->tokenizer().encode(text, Specials::parse));
  return request;
}

}  // namespace pagoda
