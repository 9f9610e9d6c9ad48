// The commands about traces: `bench trace` and `simulate`.
#include <charconv>

#include "cli/byte_size.h"
#include "cli/command_options.h"

namespace pagoda {

namespace {

constexpr int32_t kFirstId = 1000;  // below and above these, vocabularies keep special tokens
constexpr int32_t kLastId = 30999;
constexpr double kMostSeconds = 1e6;
constexpr double kMostMilliseconds = 1e9;

Result<TokenRange> parse_range(std::string_view text) {
  TokenRange range;
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto [dash, first_error] = std::from_chars(begin, end, range.first);
  const bool has_dash = first_error == std::errc() && dash != end && *dash == '-';
  const auto [rest, last_error] = std::from_chars(has_dash ? dash + 1 : end, end, range.last);
  if (!has_dash || last_error != std::errc() || rest != end || range.first < 0 || range.last <= range.first)
    return fail(ErrorCode::invalid_argument, "'{}' is no range of token ids such as {}-{}", text, kFirstId,
                kLastId);
  return range;
}

Result<std::string> parse_url(std::string_view text) {
  if (!text.starts_with("http://") && !text.starts_with("https://"))
    return fail(ErrorCode::invalid_argument, "'{}' must begin with http:// or https://", text);
  if (text.ends_with('/')) text.remove_suffix(1);
  return std::string(text);
}

void add_report_options(CLI::App& app, ReportArguments& report) {
  report.ttft_ms = 10000;
  report.tpot_ms = 200;
  app.add_option("--trace", report.trace, "JSON lines as bench/make_trace.py writes them")
      ->type_name("FILE.jsonl");
  app.add_option("--ttft-ms", report.ttft_ms, "Goodput counts requests whose first token comes by then …")
      ->type_name("MS")
      ->check(number_between(0.001, kMostMilliseconds))
      ->capture_default_str();
  app.add_option("--tpot-ms", report.tpot_ms, "… and whose further tokens take no longer, on average")
      ->type_name("MS")
      ->check(number_between(0.001, kMostMilliseconds))
      ->capture_default_str();
  app.add_option("--requests-out", report.requests_out, "Also write what each request went through")
      ->type_name("FILE.jsonl");
  add_json(app, report.json, "Print one JSON object");
}

void add_warm_up(CLI::App& app, ReportArguments& report) {
  app.add_option("--warm-up", report.warm_up_seconds,
                 "Leave out of the figures what arrives in the first seconds of the trace")
      ->type_name("SECONDS")
      ->check(number_between(0.0, kMostSeconds))
      ->capture_default_str();
}

}  // namespace

void add_bench_trace(CLI::App& bench, CommandMaker& make) {
  auto arguments = std::make_shared<BenchTraceArguments>();
  arguments->url = "http://127.0.0.1:8000/v1";
  arguments->ids = {kFirstId, kLastId};
  arguments->timeout_seconds = 3600;
  CLI::App& app =
      add_command(bench, make, "trace",
                  "Replay a trace over HTTP against a running server, this one or another", arguments,
                  "  pagoda bench trace --trace trace.jsonl\n"
                  "  pagoda bench trace --trace trace.jsonl --clients 16 --url "
                  "http://127.0.0.1:8080/v1 --json");
  add_report_options(app, arguments->report);
  app.get_option("--trace")->required();
  app.add_option("--cost-model", arguments->report.cost_model,
                 "Of the server, by 'bench cost-model': slowdown and queueing are told by it")
      ->type_name("FILE");
  app.add_option_function<std::string>("--url", into(arguments->url, parse_url, "--url"), "The server's API")
      ->type_name("URL")
      ->default_str(arguments->url);
  app.add_option("--served-model", arguments->served_model,
                 "Name of the model in requests (default: the first that the server lists)")
      ->type_name("NAME");
  app.add_option("--api-key", arguments->api_key, "Key to send (default: none)")->type_name("KEY");
  CLI::Option* clients =
      app.add_option("--clients", arguments->num_clients,
                     "So many requests at once, each as soon as another ends (default: as the trace says)")
          ->type_name("N")
          ->check(number_between(1, 100'000));
  add_warm_up(app, arguments->report);
  app.get_option("--warm-up")->excludes(clients);
  app.add_option_function<std::string>("--ids", into(arguments->ids, parse_range, "--ids"),
                                       "Token ids that prompts are made of")
      ->type_name("FIRST-LAST")
      ->default_str(fmt::format("{}-{}", kFirstId, kLastId));
  app.add_option("--salt", arguments->salt,
                 "Other prompts than with another salt: a server that saw the trace before has none cached")
      ->type_name("TEXT");
  app.add_option("--timeout", arguments->timeout_seconds, "For one request")
      ->type_name("SECONDS")
      ->check(number_between(0.001, kMostSeconds))
      ->capture_default_str();
  app.add_flag("--predict", arguments->predict,
               "Ask the server's /predict before each request, and tell how far it was off (Pagoda only)");
}

void add_simulate_command(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<SimulateArguments>();
  arguments->engine.policy = kDefaultPolicy;
  CLI::App& app =
      add_command(parent, make, "simulate",
                  "Run a trace through the scheduler in virtual time: no model, no waiting", arguments,
                  "  pagoda bench cost-model --model smollm2-135m --json > costs.json\n"
                  "  pagoda simulate --trace trace.jsonl --cost-model costs.json\n"
                  "  pagoda simulate --trace trace.jsonl --cost-model costs.json --max-sequences 16 --json");
  add_report_options(app, arguments->report);
  app.add_option("--cost-model", arguments->report.cost_model,
                 "How long steps take: 'bench cost-model --json', or a recording of 'serve --record-steps'")
      ->type_name("FILE");
  CLI::Option* recording =
      app.add_option(
             "--replay", arguments->replay,
             "Instead of a trace: a recording of 'serve --record-steps'; the scheduler must decide as "
             "it did then")
          ->type_name("FILE")
          ->excludes("--trace")
          ->excludes("--cost-model");
  app.add_option(
         "--pace", arguments->pace,
         "A recording of 'serve --record-steps': steps take as much longer or less than the costs say as "
         "they did there that long after the first request, and are as uneven (default: just what the costs "
         "say)")
      ->type_name("FILE")
      ->excludes(recording);
  CLI::Option* disk =
      app.add_option("--disk-model", arguments->disk_model,
                     "Keep full pages on a disk, too, as fast as this one: 'bench kv-disk --json' with the "
                     "model's --page-size (default: none)")
          ->type_name("FILE")
          ->excludes(recording);
  app.add_option_function<std::string>(
         "--kv-disk-size", into(arguments->engine.kv_disk_bytes, parse_byte_size, "--kv-disk-size"),
         "How much of that disk it may take (default: 20GiB)")
      ->type_name("SIZE")
      ->needs(disk);
  app.add_option("--record-steps", arguments->record_steps, "Record what each step computes")
      ->type_name("FILE")
      ->excludes(recording)
      ->excludes(disk);
  app.parse_complete_callback([raw = arguments.get()] {
    if (!raw->replay.empty()) return;
    if (raw->report.trace.empty()) throw CLI::RequiredError("--trace or --replay");
    if (raw->report.cost_model.empty()) throw CLI::RequiredError("--cost-model");
  });
  add_warm_up(app, arguments->report);
  add_policy(app, arguments->engine.policy);
  add_max_step(app, arguments->engine.max_step_ms);
  const auto count = [&](const char* name, auto& target, const char* description) {
    app.add_option(name, target, description)
        ->type_name("N")
        ->check(number_between<std::remove_reference_t<decltype(target)>>(1));
  };
  count("--max-sequences", arguments->engine.max_sequences, "Sequences computed at once (default: 64)");
  count("--max-batch-tokens", arguments->engine.max_batch_tokens, "Tokens in one step (default: 256)");
  count("--prefill-chunk", arguments->engine.prefill_chunk,
        "Most tokens of one prompt in one step (default: as --max-batch-tokens)");
  count("--max-queued", arguments->engine.max_queued_requests,
        "Requests that may wait; more are refused (default: all of the trace)");
  count("--kv-tokens", arguments->kv_tokens,
        "Room in the KV cache (default: for --max-sequences of the longest request)");
  count("--max-tokens", arguments->max_tokens,
        "What requests ask for, however short they turn out to be (default: just their length)");
  app.add_flag_callback(
         "--no-prefix-cache", [raw = arguments.get()] { raw->engine.prefix_cache = false; },
         "Compute every prompt wholly")
      ->excludes(disk);
  app.add_flag_callback(
      "--no-kv-ahead", [raw = arguments.get()] { raw->engine.kv_ahead = false; },
      "Neither keep pages of preempted requests longer than others nor fetch them before they run");
}

}  // namespace pagoda
