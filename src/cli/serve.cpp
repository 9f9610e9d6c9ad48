#include "server/serve.h"

#include <filesystem>
#include <optional>

#include "cli/input_file.h"
#include "cli/model_path.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/trace/step_recording.h"
#include "server/api_keys.h"

namespace pagoda {

namespace {

// "SmolLM2-135M-Instruct.Q4_1" for a file of that name, the folder's name for a folder.
std::string default_model_name(const std::string& path) {
  std::filesystem::path name = std::filesystem::path(path).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  return name.extension() == ".gguf" ? name.stem().string() : name.filename().string();
}

std::string base_url(const ServerOptions& options, uint16_t port) {
  std::string host =
      options.http.host == "0.0.0.0" || options.http.host == "::" ? "127.0.0.1" : options.http.host;
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  const char* scheme = options.http.tls_certificate.empty() ? "http" : "https";
  return fmt::format("{}://{}:{}{}", scheme, host, port, options.root_path);
}

void print_welcome(const ServedModel& model, const std::string& url, bool with_key) {
  const char* key = with_key ? " -H 'Authorization: Bearer YOUR_KEY'" : "";
  print_line(bold(fmt::format("Serving {} on {}", model.names.front(), url), Stream::out));
  if (model.chat_template) {
    print_line(fmt::format(
        "  curl {}/v1/chat/completions -H 'Content-Type: application/json'{} \\\n"
        "    -d '{{\"model\": \"{}\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello!\"}}]}}'",
        url, key, model.names.front()));
  } else {
    print_line(
        fmt::format("  curl {}/v1/completions -H 'Content-Type: application/json'{} \\\n"
                    "    -d '{{\"model\": \"{}\", \"prompt\": \"Once upon a time\", \"max_tokens\": 32}}'",
                    url, key, model.names.front()));
  }
  print_now("");
}

Result<ChatTemplate> read_chat_template(const std::string& path) {
  PAGODA_TRY(const std::string source, read_input_file(path));
  if (source.empty()) return fail(ErrorCode::invalid_argument, "{}: is empty, and no chat template", path);
  Result<ChatTemplate> compiled = ChatTemplate::compile(source);
  if (compiled) return compiled;
  return fail(compiled.error().code, "{}: the chat template does not compile: {}", path,
              compiled.error().message);
}

}  // namespace

Status execute(const ServeArguments& arguments) {
  init_logging(arguments.model.log_level.value_or(LogLevel::info), arguments.log_format);
  ServerOptions options = arguments.server;
  if (!arguments.api_key_file.empty()) {
    PAGODA_TRY(const std::vector<ApiKey> keys, read_key_file(arguments.api_key_file));
    options.api_keys.insert(options.api_keys.end(), keys.begin(), keys.end());
  }
  // Looked up here, so that a wrong name is told before the port opens.
  PAGODA_TRY(const std::string path, find_model(arguments.model.model, model_cache_folder()));
  std::optional<ChatTemplate> chat_template;
  if (!arguments.chat_template_file.empty()) {
    PAGODA_TRY(chat_template, read_chat_template(arguments.chat_template_file));
  }
  if (options.model_names.empty()) options.model_names = {default_model_name(path)};
  EngineOptions engine = engine_options(arguments.model, arguments.engine);
  engine.constraints = true;
  std::shared_ptr<StepRecorder> recorder;
  if (!arguments.record_steps.empty()) {
    PAGODA_TRY(recorder, StepRecorder::create(arguments.record_steps));
  }
  const auto load = [&]() -> Result<ServedModel> {
    PAGODA_TRY(LoadedEngine loaded, load_with_progress(path, engine));
    for (const std::string& line : loaded.banner) print_line(line);
    if (chat_template) loaded.chat_template = std::move(chat_template);
    PAGODA_TRY(const OutputFormat output_format,
               choose_output_format(options.output_formats, loaded.chat_template));
    if (recorder) StepRecorder::attach(recorder, *loaded.engine);
    loaded.engine->start();
    return make_served_model(options.model_names, std::move(loaded.engine), std::move(loaded.chat_template),
                             default_sampling(loaded.defaults), output_format);
  };
  PAGODA_TRY_STATUS(serve(options, load, [&](const ServedModel& model, uint16_t port) {
    print_welcome(model, base_url(options, port), !options.api_keys.empty());
  }));
  return recorder ? recorder->finish() : Status();
}

}  // namespace pagoda
