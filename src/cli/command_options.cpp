#include "cli/command_options.h"

#include "cli/byte_size.h"
#include "sched/scheduler_policy.h"

namespace pagoda {

namespace {

constexpr const char* kGroup = "Engine";

Result<std::optional<KvType>> parse_exact_kv_type(std::string_view text) {
  return pick<std::optional<KvType>>(text,
                                     {{"f32", KvType::f32}, {"bf16", KvType::bf16}, {"int8", KvType::int8}});
}

Result<std::optional<KvType>> parse_kv_type(std::string_view text) {
  return pick<std::optional<KvType>>(
      text, {{"auto", std::nullopt}, {"f32", KvType::f32}, {"bf16", KvType::bf16}, {"int8", KvType::int8}});
}

Result<FloatActivations> parse_float_activations(std::string_view text) {
  return pick<FloatActivations>(text, {{"f32", FloatActivations::f32}, {"bf16", FloatActivations::bf16}});
}

Result<std::optional<LogLevel>> parse_log_level(std::string_view text) {
  return pick<std::optional<LogLevel>>(text, {{"debug", LogLevel::debug},
                                              {"info", LogLevel::info},
                                              {"warning", LogLevel::warning},
                                              {"error", LogLevel::error},
                                              {"off", LogLevel::off}});
}

}  // namespace

Result<std::string> parse_root_path(std::string_view text) {
  if (!text.starts_with('/')) return fail(ErrorCode::invalid_argument, "'{}' must begin with '/'", text);
  if (text.find_first_of("?# ") != std::string_view::npos)
    return fail(ErrorCode::invalid_argument, "'{}' is not a path", text);
  return std::string(text.substr(0, text.find_last_not_of('/') + 1));
}

Result<LogFormat> parse_log_format(std::string_view text) {
  return pick<LogFormat>(text, {{"text", LogFormat::text}, {"json", LogFormat::json}});
}

void add_model_name(CLI::App& app, std::string& model) {
  app.add_option("-m,--model", model,
                 "A .gguf file, a Hugging Face folder, or the short name of a downloaded model")
      ->type_name("MODEL")
      ->required();
}

void add_threads(CLI::App& app, int& num_threads) {
  app.add_option("-t,--threads", num_threads, "Compute threads (default: the usable cores)")
      ->type_name("N")
      ->check(number_between(1, 1024))
      ->group(kGroup);
}

void add_model_options(CLI::App& app, ModelArguments& model, const char* default_log_level) {
  add_model_name(app, model.model);
  add_threads(app, model.num_threads);
  app.add_option_function<std::string>("--memory", into(model.memory_bytes, parse_byte_size, "--memory"),
                                       "Bound on weights, KV cache and scratch together, as 8GiB or 500MB "
                                       "(default: 80 % of what is available)")
      ->type_name("SIZE")
      ->group(kGroup);
  app.add_option_function<std::string>(
         "--kv-type", into(model.kv_type, parse_kv_type, "--kv-type"),
         "Element type of the KV cache: auto, f32, bf16 or int8, which takes 0.56 of bf16's memory and is "
         "not "
         "lossless (auto: f32 for models with floating-point weights, else bf16)")
      ->type_name("TYPE")
      ->default_str("auto")
      ->group(kGroup);
  app.add_option_function<std::string>(
         "--float-activations", into(model.float_activations, parse_float_activations, "--float-activations"),
         "What bf16 weights are multiplied by: f32, or bf16, which rounds and is up to twice as fast on "
         "processors "
         "with AVX-512 BF16")
      ->type_name("TYPE")
      ->default_str("f32")
      ->group(kGroup);
  const std::string packed_cache =
      "Keep the packed weights in a file beside the model, or in the folder DIR: later starts are faster, "
      "the "
      "file is about as large as the model";
  // A flag: its folder only comes after '=', so that no other word is taken for it.
  app.add_flag("--packed-cache", packed_cache)
      ->each([&model](const std::string& value) {
        if (value == "false")
          model.packed_cache.reset();
        else
          model.packed_cache = value == "true" ? "" : value;
      })
      ->type_name("[=DIR]")
      ->group(kGroup);
  app.add_flag_callback(
         "--no-vocabulary-screening", [&model] { model.min_screened_weights = kNoScreening; },
         "Read all of the vocabulary projection for every token, even where the best one is wanted alone: "
         "the "
         "tokens are the same, greedy decoding is slower")
      ->group(kGroup);
  app.add_option("--max-context", model.max_context,
                 "Most tokens of one sequence (default: the model's context)")
      ->type_name("N")
      ->check(number_between<int64_t>(1))
      ->group(kGroup);
  app.add_option_function<std::string>("--log-level", into(model.log_level, parse_log_level, "--log-level"),
                                       "debug, info, warning, error or off, on standard error")
      ->type_name("LEVEL")
      ->default_str(default_log_level)
      ->group(kGroup);
}

void add_reference_kv_type(CLI::App& app, std::optional<KvType>& type) {
  app.add_option_function<std::string>(
         "--reference-kv-type", into(type, parse_exact_kv_type, "--reference-kv-type"),
         "Also run with this KV cache, and print how far the predictions are from those: the mean "
         "Kullback-Leibler divergence")
      ->type_name("TYPE");
}

void add_policy(CLI::App& app, std::string& policy) {
  const auto names = scheduler_policy_names();
  app.add_option(
         "--policy", policy,
         fmt::format(
             "Which request comes first: fcfs, priority (the request's), lpm (longest cached "
             "prefix), mlfq (short prompts and answers first, clients in turns), srpt (the least left up to "
             "max_tokens) (default: {})",
             kDefaultPolicy))
      ->type_name("NAME")
      ->check(CLI::IsMember(std::vector<std::string>(names.begin(), names.end())))
      ->group(kGroup);
}

void add_max_step(CLI::App& app, std::optional<double>& max_step_ms) {
  constexpr double kDefault = 100;
  max_step_ms = kDefault;
  app.add_option(
         "--max-step-ms", max_step_ms,
         "Bound on the time of a step: chunks of prompts are cut so that no stream waits longer for its "
         "next token; 0: none")
      ->type_name("MS")
      ->check(number_between(0.0, 1e6))
      ->default_str(fmt::format("{}", kDefault))
      ->group(kGroup);
}

void add_json(CLI::App& app, bool& json, const char* description) {
  app.add_flag("--json", json, description);
}

void add_chunk(CLI::App& app, int32_t& chunk) {
  app.add_option("--chunk", chunk, "Tokens of a prompt computed in one step")
      ->type_name("N")
      ->check(number_between(1, 65536))
      ->capture_default_str();
}

}  // namespace pagoda
