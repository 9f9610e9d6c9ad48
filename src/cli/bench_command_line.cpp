// The subcommands of `bench`.
#include "cli/command_options.h"

namespace pagoda {

namespace {

void add_bench_kind(CLI::App& parent, CommandMaker& make, const char* name, BenchKind kind,
                    const char* description, std::vector<int64_t> tokens, int repeat, const char* examples) {
  auto arguments = std::make_shared<BenchArguments>();
  arguments->kind = kind;
  arguments->tokens = std::move(tokens);
  arguments->repeat = repeat;
  arguments->sequences = {1};
  arguments->chunk = 256;
  CLI::App& app = add_command(parent, make, name, description, arguments, examples);
  add_model_options(app, arguments->model, "warning");
  app.add_option("--tokens", arguments->tokens,
                 "Tokens of one measurement; several numbers measure several times")
      ->type_name("N,N")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--repeat", arguments->repeat, "Runs of each measurement")
      ->type_name("R")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  if (kind == BenchKind::batch) {
    arguments->sequences = {1, 2, 4, 8, 16};
    app.add_option("--sequences", arguments->sequences, "Sequences decoded together; likewise")
        ->type_name("B,B")
        ->delimiter(',')
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
  }
  if (kind == BenchKind::kv_cache) {
    arguments->prompt = "Once upon a time";
    app.add_option("--prompt", arguments->prompt, "The text that is continued")
        ->type_name("TEXT")
        ->capture_default_str();
  } else {
    app.add_option("--depth", arguments->depth, "Tokens already in the cache of each sequence")
        ->type_name("D")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
  }
  add_chunk(app, arguments->chunk);
  add_json(app, arguments->json, "Print one JSON object a line for each measurement");
}

}  // namespace

void add_bench_commands(CLI::App& app, CommandMaker& make) {
  CLI::App& bench = *app.add_subcommand("bench", "Measure speed, next to the limits of this machine");
  bench.require_subcommand(1);
  add_bench_kind(bench, make, "prefill", BenchKind::prefill, "Prompt tokens per second", {512}, 5,
                 "  pagoda bench prefill --model smollm2-135m --tokens 128,512 --threads 2");
  add_bench_kind(bench, make, "decode", BenchKind::decode, "Generated tokens per second, one sequence", {128},
                 5, "  pagoda bench decode --model smollm2-135m --depth 2048 --json");
  add_bench_kind(bench, make, "batch", BenchKind::batch,
                 "Generated tokens per second of several sequences together", {64}, 3,
                 "  pagoda bench batch --model smollm2-135m --sequences 1,8,32");
  add_bench_kind(bench, make, "kv-cache", BenchKind::kv_cache,
                 "Generation with the KV cache on and off: time and text", {64, 128, 256, 512}, 1,
                 "  pagoda bench kv-cache --model smollm2-135m --tokens 64,128");
}

}  // namespace pagoda
