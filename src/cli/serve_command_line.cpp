// The subcommand `serve`.
#include <chrono>
#include <cmath>

#include "cli/byte_size.h"
#include "cli/command_options.h"
#include "cli/prefix_cache_options.h"

namespace pagoda {

namespace {

// How many requests share a step; the rest of the engine's options.
void add_batch_options(CLI::App& app, EngineOptions& engine) {
  const auto count = [&](const char* name, int32_t& target, const char* description) {
    app.add_option(name, target, description)
        ->type_name("N")
        ->check(number_between<int32_t>(1))
        ->group("Engine");
  };
  count("--max-sequences", engine.max_sequences, "Sequences computed at once (default: 64)");
  count("--max-batch-tokens", engine.max_batch_tokens,
        "Tokens in one step, decodes and chunks of prompts together (default: 256)");
  count("--prefill-chunk", engine.prefill_chunk,
        "Most tokens of one prompt in one step (default: as --max-batch-tokens)");
  add_max_step(app, engine.max_step_ms);
  count("--max-queued", engine.max_queued_requests,
        "Requests that may wait; more are answered with 429 (default: 256)");
  app.add_option("--max-queued-tokens", engine.max_queued_tokens,
                 "Tokens of prompts that may wait; more are answered with 429 (default: no limit)")
      ->type_name("N")
      ->check(number_between<int64_t>(1))
      ->group("Engine");
  app.add_option_function<std::string>(
         "--max-kv", into(engine.max_kv_bytes, parse_byte_size, "--max-kv"),
         "Bytes of the KV cache, as far as --memory leaves them (default: all sequences at full context)")
      ->type_name("SIZE")
      ->group("Engine");
  add_prefix_cache_options(app, engine);
  add_policy(app, engine.policy);
  app.add_option("--seed", engine.seed, "Where the random numbers of requests without a seed begin")
      ->type_name("S")
      ->check(number_between<uint64_t>(0))
      ->capture_default_str()
      ->group("Engine");
}

Result<Pooling> parse_pooling(std::string_view text) {
  return pick<Pooling>(text, {{"last", Pooling::last}, {"mean", Pooling::mean}, {"cls", Pooling::cls}});
}

std::string check_not_empty(const std::string& text) {
  return text.empty() ? "must not be empty" : "";
}

// What browsers send as `Origin`: a scheme and a host, without a path.
std::string check_origin(const std::string& text) {
  if (text == "*" || text == "null") return {};
  const size_t scheme_end = text.find("://");
  const bool is_origin = scheme_end != std::string::npos && scheme_end > 0 && scheme_end + 3 < text.size() &&
                         text.find('/', scheme_end + 3) == std::string::npos;
  return is_origin ? "" : fmt::format("'{}' is no origin; write it as https://app.example", text);
}

constexpr double kShortestSeconds = 0.001;

void add_seconds(CLI::App& app, const char* name, std::chrono::milliseconds& target, const char* description,
                 double least = kShortestSeconds) {
  app.add_option_function<double>(
         name,
         [&target](double seconds) { target = std::chrono::milliseconds(std::llround(seconds * 1000)); },
         description)
      ->type_name("SECONDS")
      ->check(number_between(least, 1e6))
      ->default_str(fmt::format("{}", static_cast<double>(target.count()) / 1000))
      ->group("HTTP");
}

void add_chat_template_option(CLI::App& app, std::string& file) {
  app.add_option("--chat-template", file, "File with a Jinja chat template in place of the model's own")
      ->type_name("FILE")
      ->group("Engine");
}

// Parsers of what the model writes.
void add_output_options(CLI::App& app, OutputFormatNames& formats) {
  std::vector<std::string> tool_calls = {"auto", "none"};
  for (const ToolCallFormat* format : tool_call_formats()) tool_calls.emplace_back(format->name);
  std::vector<std::string> reasoning = {"auto", "none"};
  for (const ReasoningFormat& format : reasoning_formats()) reasoning.emplace_back(format.name);
  app.add_option("--tool-call-parser", formats.tool_calls,
                 "How the model writes tool calls; auto: as its chat template shows")
      ->check(CLI::IsMember(tool_calls))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Output");
  app.add_option("--reasoning-parser", formats.reasoning,
                 "How the model marks its thinking; auto: as its chat template shows")
      ->check(CLI::IsMember(reasoning))
      ->type_name("NAME")
      ->capture_default_str()
      ->group("Output");
}

void add_embedding_options(CLI::App& app, Pooling& pooling) {
  app.add_option_function<std::string>(
         "--pooling", into(pooling, parse_pooling, "--pooling"),
         "How /v1/embeddings makes one vector of a text's hidden states: the last token's, their mean, or "
         "the first token's (cls)")
      ->type_name("last|mean|cls")
      ->default_str("last")
      ->group("Output");
}

void add_http_options(CLI::App& app, ServerOptions& server, std::string& api_key_file) {
  constexpr const char* kGroup = "HTTP";
  app.add_option("--host", server.http.host, "Address to listen on; 0.0.0.0 for all of them")
      ->type_name("ADDRESS")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("-p,--port", server.http.port, "Port; 0 takes a free one and prints it")
      ->type_name("PORT")
      ->check(number_between(0, 65535))
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--served-model-name", server.model_names,
                 "Name that requests use; may be given several times (default: the model file's name)")
      ->type_name("NAME")
      ->take_all()
      ->expected(1)
      ->check(check_not_empty)
      ->group(kGroup);
  app.add_option_function<std::vector<std::string>>(
         "--api-key",
         [&server](const std::vector<std::string>& keys) {
           for (const std::string& key : keys) server.api_keys.push_back({.key = key});
         },
         "Key that clients must send; may be given several times (default: none)")
      ->type_name("KEY")
      ->take_all()
      ->expected(1)
      ->check(check_not_empty)
      ->group(kGroup);
  app.add_option(
         "--api-key-file", api_key_file,
         "File with such keys, one a line, each with limits of its own if it has any: KEY [name=TEXT] "
         "[max-concurrent=N] [tokens-per-minute=N]")
      ->type_name("FILE")
      ->group(kGroup);
  app.add_option("--key-max-concurrent", server.key_limits.max_concurrent,
                 "Requests of one key at once; without keys, of all clients (default: no limit)")
      ->type_name("N")
      ->check(number_between<int64_t>(1))
      ->group(kGroup);
  app.add_option(
         "--key-tokens-per-minute", server.key_limits.tokens_per_minute,
         "Tokens of one key, of prompts and answers; without keys, of all clients (default: no limit)")
      ->type_name("N")
      ->check(number_between<int64_t>(1))
      ->group(kGroup);
  app.add_option("--cors-origin", server.cors_origins,
                 "Web pages of this origin may call, as https://app.example; '*': all; may be given several "
                 "times (default: none)")
      ->type_name("ORIGIN")
      ->take_all()
      ->expected(1)
      ->check(check_origin)
      ->group(kGroup);
  CLI::Option* certificate =
      app.add_option("--ssl-cert", server.http.tls_certificate,
                     "PEM file with the certificate and its chain: serve HTTPS (TLS 1.2 and 1.3)")
          ->type_name("FILE")
          ->group(kGroup);
  CLI::Option* key = app.add_option("--ssl-key", server.http.tls_key, "PEM file with the certificate's key")
                         ->type_name("FILE")
                         ->needs(certificate)
                         ->group(kGroup);
  certificate->needs(key);
  app.add_option_function<std::string>("--root-path", into(server.root_path, parse_root_path, "--root-path"),
                                       "Where a proxy mounts the server, as /llm; paths may have it or not")
      ->type_name("PATH")
      ->group(kGroup);
  app.add_option_function<std::string>("--body-limit",
                                       into(server.http.body_limit, parse_byte_size, "--body-limit"),
                                       "Largest body of a request")
      ->type_name("SIZE")
      ->default_str("16MiB")
      ->group(kGroup);
  app.add_option("--workers", server.num_workers, "Threads that parse, render and tokenise")
      ->type_name("N")
      ->check(number_between(1, 256))
      ->capture_default_str()
      ->group(kGroup);
  add_seconds(app, "--drain-timeout", server.drain_timeout,
              "How long running requests may go on after SIGTERM; 0: they end at once", 0);
  add_seconds(app, "--idle-timeout", server.http.idle_timeout, "Between two requests of a connection");
  add_seconds(app, "--header-timeout", server.http.header_timeout, "For a client to send its headers");
  add_seconds(app, "--body-timeout", server.http.body_timeout, "For a client to send its body");
  add_seconds(app, "--write-timeout", server.http.write_timeout, "For a client that reads nothing");
  add_seconds(app, "--stall-timeout", server.http.stall_timeout,
              "For how long in all one answer may wait for its client to read");
}

void add_observation_options(CLI::App& app, ServeArguments& arguments) {
  app.add_option_function<std::string>("--log-format",
                                       into(arguments.log_format, parse_log_format, "--log-format"),
                                       "text, or json: one object a line")
      ->type_name("FORMAT")
      ->default_str("text")
      ->group("Observation");
  app.add_flag_callback(
         "--no-request-log", [&arguments] { arguments.server.request_log = ServerOptions::RequestLog::off; },
         "Do not log requests")
      ->group("Observation");
  app.add_option("--record-steps", arguments.record_steps,
                 "Record what each step computes, and prompts and answers as token ids, for 'simulate "
                 "--replay' (default: no)")
      ->type_name("FILE")
      ->excludes("--kv-disk")
      ->group("Observation");
  app.add_option("--otlp-endpoint", arguments.server.otlp_endpoint,
                 "Send traces to this OpenTelemetry collector, as http://127.0.0.1:4318 (default: none)")
      ->type_name("URL")
      ->group("Observation");
}

}  // namespace

void add_serve_command(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<ServeArguments>();
  arguments->server.http.port = 8000;
  CLI::App& app =
      add_command(parent, make, "serve", "Serve the model over an OpenAI-compatible HTTP API", arguments,
                  "  pagoda serve --model smollm2-135m\n"
                  "  pagoda serve --model model.gguf --host 0.0.0.0 --port 8080 --api-key-file keys.txt\n"
                  "  pagoda serve --model model.gguf --memory 8GiB --max-sequences 32 --max-context 8192");
  add_model_options(app, arguments->model, "info");
  add_batch_options(app, arguments->engine);
  add_chat_template_option(app, arguments->chat_template_file);
  add_http_options(app, arguments->server, arguments->api_key_file);
  add_output_options(app, arguments->server.output_formats);
  add_observation_options(app, *arguments);
  add_embedding_options(app, arguments->server.pooling);
}

}  // namespace pagoda
