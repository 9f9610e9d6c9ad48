// The fake model behind a real port, for tests of clients: prints the port, serves until SIGTERM.
//   fake_server [--api-key KEY] [--max-sequences N] [--max-queued N] [--step-us N]
//               [--otlp-endpoint URL] [--ssl-cert FILE] [--ssl-key FILE]
//               [--write-timeout-s N] [--body-timeout-s N] [--log-format text|json: logs
//               requests, too]
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "base/heap.h"
#include "base/log_event.h"
#include "server/server.h"
#include "support/fake_served_model.h"

int main(int argc, char** argv) {
  using namespace pagoda;
  return_large_blocks();  // as pagoda does
  ServerOptions options;
  options.request_log = ServerOptions::RequestLog::off;
  LogFormat format = LogFormat::text;
  EngineConfig config = testing::fake_engine_config();
  std::chrono::microseconds step_time{0};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--api-key") options.api_keys.push_back({.key = argv[i + 1]});
    if (name == "--max-sequences") config.max_sequences = std::atoi(argv[i + 1]);
    if (name == "--max-queued") config.max_queued_requests = std::atoi(argv[i + 1]);
    if (name == "--prefix-cache") config.prefix_cache.enabled = std::string_view(argv[i + 1]) == "on";
    if (name == "--write-timeout-s")
      options.http.write_timeout = std::chrono::seconds(std::atoi(argv[i + 1]));
    if (name == "--body-timeout-s") options.http.body_timeout = std::chrono::seconds(std::atoi(argv[i + 1]));
    if (name == "--ssl-cert") options.http.tls_certificate = argv[i + 1];
    if (name == "--ssl-key") options.http.tls_key = argv[i + 1];
    if (name == "--otlp-endpoint") options.otlp_endpoint = argv[i + 1];
    if (name == "--log-format") {
      options.request_log = ServerOptions::RequestLog::on;
      format = std::string_view(argv[i + 1]) == "json" ? LogFormat::json : LogFormat::text;
    }
    if (name == "--step-us") step_time = std::chrono::microseconds(std::atoi(argv[i + 1]));
  }
  init_logging(LogLevel::info, format);
  Result<std::unique_ptr<Server>> server = Server::create(options);
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().message.c_str());
    return 1;
  }
  (*server)->stop_on_signals();
  (*server)->set_model(testing::fake_served_model(config, [step_time](const ForwardBatch&) {
    if (step_time.count() > 0) std::this_thread::sleep_for(step_time);
  }));
  std::printf("%d\n", (*server)->port());
  std::fflush(stdout);
  (*server)->run();
  return 0;
}
