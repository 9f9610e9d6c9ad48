// The subcommands of `bench`.
#include <algorithm>

#include "cli/byte_size.h"
#include "cli/command_options.h"
#include "cli/kernel_bench.h"

namespace pagoda {

namespace {

std::string format_names() {
  std::string names;
  for (const LinearFormat& format : kBenchFormats) {
    if (!names.empty()) names += ", ";
    names += to_string(format);
  }
  return names;
}

void add_bench_kind(CLI::App& parent, CommandMaker& make, const char* name, BenchKind kind,
                    const char* description, std::vector<int64_t> tokens, int repeat, const char* examples) {
  auto arguments = std::make_shared<BenchArguments>();
  arguments->kind = kind;
  arguments->tokens = std::move(tokens);
  arguments->repeat = repeat;
  arguments->sequences = {1};
  arguments->depths = {0};
  arguments->chunk = 256;
  CLI::App& app = add_command(parent, make, name, description, arguments, examples);
  add_model_options(app, arguments->model, "warning");
  app.add_option("--tokens", arguments->tokens,
                 "Tokens of one measurement; several numbers measure several times")
      ->type_name("N,N")
      ->delimiter(',')
      ->check(number_between<int64_t>(1))
      ->capture_default_str();
  app.add_option("--repeat", arguments->repeat, "Runs of each measurement")
      ->type_name("R")
      ->check(number_between(1, 1000))
      ->capture_default_str();
  if (kind == BenchKind::batch) {
    arguments->sequences = {1, 2, 4, 8, 16};
    app.add_option("--sequences", arguments->sequences, "Sequences decoded together; likewise")
        ->type_name("B,B")
        ->delimiter(',')
        ->check(number_between(1, 4096))
        ->capture_default_str();
  }
  if (kind == BenchKind::decode || kind == BenchKind::batch)
    app.add_flag("--all-logits", arguments->all_logits,
                 "Compute all logits of every token, as sampling needs them, not only the greatest");
  if (kind == BenchKind::kv_cache) {
    arguments->prompt = "Once upon a time";
    app.add_option("--prompt", arguments->prompt, "The text that is continued")
        ->type_name("TEXT")
        ->capture_default_str();
  } else {
    app.add_option("--depth", arguments->depths, "Tokens already in the cache of each sequence; likewise")
        ->type_name("D,D")
        ->delimiter(',')
        ->check(number_between<int64_t>(0))
        ->capture_default_str();
  }
  add_chunk(app, arguments->chunk);
  add_json(app, arguments->json, "Print one JSON object a line for each measurement");
}

Result<std::vector<LinearFormat>> parse_formats(std::string_view text) {
  std::vector<LinearFormat> formats;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view name = text.substr(begin, end - begin);
    const auto* format =
        std::ranges::find(kBenchFormats, name, [](const LinearFormat& known) { return to_string(known); });
    if (format == kBenchFormats.end())
      return fail(ErrorCode::invalid_argument, "'{}' is no format of weights; known are {}", name,
                  format_names());
    formats.push_back(*format);
    begin = end + 1;
  }
  return formats;
}

Result<std::vector<FileCache>> parse_caches(std::string_view text) {
  if (text == "warm") return std::vector{FileCache::warm};
  if (text == "cold") return std::vector{FileCache::cold};
  if (text == "both") return std::vector{FileCache::warm, FileCache::cold};
  return fail(ErrorCode::invalid_argument, "'{}' is none of warm, cold, both", text);
}

void add_kernels(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<BenchKernelsArguments>();
  arguments->seconds = 10;
  arguments->formats.assign(kBenchFormats.begin(), kBenchFormats.end());
  arguments->depths = {1024, 4096, 16384};
  arguments->working_set_bytes = uint64_t{256} << 20;
  CLI::App& app =
      add_command(parent, make, "kernels",
                  "Linear layers, attention and row operations by themselves; needs no model", arguments,
                  "  pagoda bench kernels\n"
                  "  pagoda bench kernels --formats q4_k,q6_k --depth 4096 --seconds 30 --json");
  add_threads(app, arguments->num_threads);
  app.add_option("--seconds", arguments->seconds, "Time for all measurements together")
      ->type_name("N")
      ->check(number_between(0.1, 3600.0))
      ->capture_default_str();
  app.add_option_function<std::string>("--formats", into(arguments->formats, parse_formats, "--formats"),
                                       "Formats of weights, of " + format_names())
      ->type_name("F,F")
      ->default_str("all");
  app.add_option("--depth", arguments->depths, "Tokens in the cache that attention reads")
      ->type_name("D,D")
      ->delimiter(',')
      ->check(number_between(int64_t{16}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--working-set", into(arguments->working_set_bytes, parse_byte_size, "--working-set"),
         "Memory that measurements walk through, so that nothing is found in a cache")
      ->type_name("SIZE")
      ->default_str("256MiB");
  app.add_option(
         "--prefetch", arguments->prefetch_bytes,
         "How far ahead weights, keys and values are fetched for one token, 0: by the processor alone")
      ->type_name("BYTES")
      ->check(number_between(int64_t{0}, int64_t{1} << 20))
      ->default_str("this machine's");
  add_json(app, arguments->json, "Print one JSON object a line for each measurement");
}

void add_load(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<BenchLoadArguments>();
  arguments->caches = {FileCache::warm, FileCache::cold};
  arguments->prompt_tokens = 16;
  arguments->repeat = 3;
  CLI::App& app =
      add_command(parent, make, "load",
                  "Time from the start to a loaded model and to the first token; memory held", arguments,
                  "  pagoda bench load --model smollm2-135m\n"
                  "  pagoda bench load --model model.gguf --cache warm --context 4096 --json");
  add_model_options(app, arguments->model, "warning");
  app.add_option_function<std::string>("--cache", into(arguments->caches, parse_caches, "--cache"),
                                       "Page cache before a load: warm (the file was read before), cold (its "
                                       "pages were dropped) or both")
      ->type_name("STATE")
      ->default_str("both");
  app.add_option("--prompt-tokens", arguments->prompt_tokens, "Tokens of the prompt before the first token")
      ->type_name("N")
      ->check(number_between<int64_t>(1))
      ->capture_default_str();
  app.add_option("--context", arguments->context,
                 "Then fill the cache to this many tokens, to see what memory that takes; 0: do not")
      ->type_name("N")
      ->check(number_between<int64_t>(0))
      ->capture_default_str();
  app.add_option("--repeat", arguments->repeat, "Loads of each kind, each in a process of its own")
      ->type_name("R")
      ->check(number_between(1, 1000))
      ->capture_default_str();
  add_json(app, arguments->json, "Print one JSON object a line for each kind of load");
}

void add_constraint(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<BenchConstraintArguments>();
  arguments->sequences = {16};
  arguments->tokens = 96;
  arguments->repeat = 5;
  CLI::App& app = add_command(parent, make, "constraint",
                              "Steps with output that fits a JSON schema, next to steps without", arguments,
                              "  pagoda bench constraint --model smollm2-135m\n"
                              "  pagoda bench constraint --model model.gguf --sequences 1,16 --json");
  add_model_options(app, arguments->model, "warning");
  app.add_option("--sequences", arguments->sequences,
                 "Sequences together; several numbers measure several times")
      ->type_name("B,B")
      ->delimiter(',')
      ->check(number_between(1, 4096))
      ->capture_default_str();
  app.add_option("--tokens", arguments->tokens, "Tokens of each sequence")
      ->type_name("N")
      ->check(number_between(8, 4096))
      ->capture_default_str();
  app.add_option("--schema", arguments->schema, "The JSON schema; it must not end before the tokens do")
      ->type_name("JSON");
  app.add_option("--repeat", arguments->repeat, "Turns of each measurement, with and without")
      ->type_name("R")
      ->check(number_between(1, 1000))
      ->capture_default_str();
  add_json(app, arguments->json, "Print one JSON object a line for each measurement");
}

void add_cost_model(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<BenchCostModelArguments>();
  arguments->seconds = 60;
  arguments->engine.max_sequences = 16;
  CLI::App& app =
      add_command(parent, make, "cost-model",
                  "How well the time of a step is foretold, under requests of all sizes", arguments,
                  "  pagoda bench cost-model --model smollm2-135m\n"
                  "  pagoda bench cost-model --model model.gguf --seconds 120 --json > costs.json");
  add_model_options(app, arguments->model, "warning");
  app.add_option("--seconds", arguments->seconds, "Half of it to fit, half to compare")
      ->type_name("N")
      ->check(number_between(1.0, 86400.0))
      ->capture_default_str();
  add_max_step(app, arguments->engine.max_step_ms);
  app.add_option("--max-sequences", arguments->engine.max_sequences, "Sequences computed at once")
      ->type_name("N")
      ->check(number_between(1, 4096))
      ->capture_default_str();
  app.add_option("--seed", arguments->seed, "Where the requests' random numbers begin")
      ->type_name("S")
      ->check(number_between<uint64_t>(0))
      ->capture_default_str();
  add_json(app, arguments->json, "Print one JSON object, the fitted model in it");
}

void add_preemption(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<BenchPreemptionArguments>();
  arguments->sequences = 8;
  arguments->prompt_tokens = 200;
  arguments->tokens = 1024;
  arguments->preemptions = 100;
  arguments->repeat = 3;
  CLI::App& app = add_command(
      parent, make, "preemption",
      "What it costs that sequences lose their places at random; tokens must stay the same", arguments,
      "  pagoda bench preemption --model smollm2-135m\n"
      "  pagoda bench preemption --model model.gguf --preemptions 200 --json");
  add_model_options(app, arguments->model, "warning");
  const auto count = [&](const char* name, auto& target, const char* description) {
    app.add_option(name, target, description)
        ->type_name("N")
        ->check(number_between(1, 100000))
        ->capture_default_str();
  };
  count("--sequences", arguments->sequences, "Sequences together");
  count("--prompt-tokens", arguments->prompt_tokens, "Tokens of each prompt");
  count("--tokens", arguments->tokens, "Tokens that each generates");
  count("--preemptions", arguments->preemptions, "Of all sequences together");
  count("--repeat", arguments->repeat, "Turns, with and without");
  app.add_option("--seed", arguments->seed, "Who is preempted")
      ->type_name("S")
      ->check(number_between<uint64_t>(0))
      ->capture_default_str();
  add_json(app, arguments->json, "Print one JSON object");
}

void add_kv_disk(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<BenchKvDiskArguments>();
  arguments->bytes = uint64_t{1} << 30;
  arguments->page_bytes = uint64_t{448} << 10;
  arguments->queue_depth = 16;
  arguments->repeat = 3;
  CLI::App& app =
      add_command(parent, make, "kv-disk",
                  "KV pages to a disk and back, beside plain unbuffered writes and reads", arguments,
                  "  pagoda bench kv-disk /var/cache\n"
                  "  pagoda bench kv-disk . --page-size 2MiB --size 4GiB --json");
  app.add_option("DIR", arguments->folder, "A folder on the disk; what is written there is removed")
      ->required();
  app.add_option_function<std::string>("--size", into(arguments->bytes, parse_byte_size, "--size"),
                                       "Bytes of all pages together")
      ->type_name("SIZE")
      ->default_str("1GiB");
  app.add_option_function<std::string>("--page-size",
                                       into(arguments->page_bytes, parse_byte_size, "--page-size"),
                                       "Bytes of a page: 16 tokens of all layers")
      ->type_name("SIZE")
      ->default_str("448KiB");
  app.parse_complete_callback([raw = arguments.get()] {
    constexpr uint64_t kMost = uint64_t{1} << 30;
    if (raw->page_bytes > kMost) throw CLI::ValidationError("--page-size", "must be at most 1GiB");
  });
  app.add_option("--queue-depth", arguments->queue_depth, "Transfers under way at once")
      ->type_name("N")
      ->check(number_between(2, 256))
      ->capture_default_str();
  app.add_option("--repeat", arguments->repeat, "Runs of each measurement")
      ->type_name("R")
      ->check(number_between(1, 1000))
      ->capture_default_str();
  add_json(app, arguments->json, "Print one JSON object a line for each measurement");
}

void add_prefix_cache(CLI::App& parent, CommandMaker& make) {
  auto arguments = std::make_shared<BenchPrefixCacheArguments>();
  arguments->nodes = {10000, 100000};
  arguments->steps = 2000;
  CLI::App& app =
      add_command(parent, make, "prefix-cache", "What the prefix cache's tree costs a step; needs no model",
                  arguments, "  pagoda bench prefix-cache --nodes 100000 --json");
  app.add_option("--nodes", arguments->nodes,
                 "Pages that the tree knows; several numbers measure several times")
      ->type_name("N,N")
      ->delimiter(',')
      ->check(number_between(10000, 10000000))
      ->capture_default_str();
  app.add_option("--steps", arguments->steps, "Steps of each measurement")
      ->type_name("N")
      ->check(number_between(1, 1000000))
      ->capture_default_str();
  add_json(app, arguments->json, "Print one JSON object a line for each measurement");
}

}  // namespace

void add_bench_commands(CLI::App& app, CommandMaker& make) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure speed, next to the limits of this machine");
  bench.require_subcommand(1);
  add_kernels(bench, make);
  add_load(bench, make);
  add_kv_disk(bench, make);
  add_constraint(bench, make);
  add_prefix_cache(bench, make);
  add_bench_trace(bench, make);
  add_cost_model(bench, make);
  add_preemption(bench, make);
  add_bench_kind(bench, make, "prefill", BenchKind::prefill, "Prompt tokens per second", {512}, 5,
                 "  pagoda bench prefill --model smollm2-135m --tokens 128,512 --threads 2");
  add_bench_kind(bench, make, "decode", BenchKind::decode, "Generated tokens per second, one sequence", {128},
                 5, "  pagoda bench decode --model smollm2-135m --depth 0,4096,16384 --json");
  add_bench_kind(bench, make, "batch", BenchKind::batch,
                 "Generated tokens per second of several sequences together", {64}, 3,
                 "  pagoda bench batch --model smollm2-135m --sequences 1,8,32");
  add_bench_kind(bench, make, "kv-cache", BenchKind::kv_cache,
                 "Generation with the KV cache on and off: time and text", {64, 128, 256, 512}, 1,
                 "  pagoda bench kv-cache --model smollm2-135m --tokens 64,128");
}

}  // namespace pagoda
