#include "cli/command_line.h"

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>

#include "cli/byte_size.h"
#include "cli/token_ids.h"

namespace pagoda {

namespace {

constexpr const char* kFooter =
    "Environment:\n"
    "  PAGODA_ISA=scalar|avx2|avx512   force the kernels (default: the fastest of this machine)\n"
    "  PAGODA_MODELS=FOLDER            where short names of models are looked up\n"
    "                                  (default: ~/.cache/pagoda/models)\n"
    "  NO_COLOR=1                      no colours\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage.\n"
    "\n"
    "Examples:\n"
    "  pagoda serve --model smollm2-135m\n"
    "  pagoda run --model smollm2-135m --chat \"Name three rivers.\"\n"
    "  pagoda COMMAND --help";

// Text -> value where the text needs more than a number; what the parser says becomes a usage error.
template <class T>
std::function<void(const std::string&)> into(T& target, Result<T> (*parse)(std::string_view)) {
  return [&target, parse](const std::string& text) {
    Result<T> value = parse(text);
    if (!value) throw CLI::ValidationError(value.error().message);
    target = std::move(*value);
  };
}

template <class T>
Result<T> pick(std::string_view text, std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (name == text) return value;
    names += names.empty() ? "" : ", ";
    names += name;
  }
  return fail(ErrorCode::invalid_argument, "'{}' is none of {}", text, names);
}

Result<KvType> parse_kv_type(std::string_view text) {
  return pick<KvType>(text, {{"auto", KvType::automatic}, {"f32", KvType::f32}, {"bf16", KvType::bf16}});
}

Result<std::optional<LogLevel>> parse_log_level(std::string_view text) {
  return pick<std::optional<LogLevel>>(text, {{"debug", LogLevel::debug},
                                              {"info", LogLevel::info},
                                              {"warning", LogLevel::warning},
                                              {"error", LogLevel::error},
                                              {"off", LogLevel::off}});
}

void add_model_name(CLI::App& app, std::string& model) {
  app.add_option("-m,--model", model,
                 "A .gguf file, a Hugging Face folder, or the short name of a downloaded model")
      ->type_name("MODEL")
      ->required();
}

void add_model_options(CLI::App& app, ModelArguments& model, const char* default_log_level) {
  add_model_name(app, model.model);
  constexpr const char* kGroup = "Engine";
  app.add_option("-t,--threads", model.num_threads, "Compute threads (default: the usable cores)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024))
      ->group(kGroup);
  app.add_option_function<std::string>("--memory", into(model.memory_bytes, parse_byte_size),
                                       "Bound on weights, KV cache and scratch together, as 8GiB or 500MB "
                                       "(default: 80 % of what is available)")
      ->type_name("SIZE")
      ->group(kGroup);
  app.add_option_function<std::string>(
         "--kv-type", into(model.kv_type, parse_kv_type),
         "Element type of the KV cache: auto, f32 or bf16 (auto: f32 for models with "
         "floating-point weights, else bf16)")
      ->type_name("TYPE")
      ->default_str("auto")
      ->group(kGroup);
  app.add_option("--max-context", model.max_context,
                 "Most tokens of one sequence (default: the model's context)")
      ->type_name("N")
      ->check(CLI::PositiveNumber)
      ->group(kGroup);
  app.add_option_function<std::string>("--log-level", into(model.log_level, parse_log_level),
                                       "debug, info, warning, error or off, on standard error")
      ->type_name("LEVEL")
      ->default_str(default_log_level)
      ->group(kGroup);
}

void add_sampling_options(CLI::App& app, SamplingArguments& sampling) {
  constexpr const char* kGroup = "Sampling (defaults: the model's generation settings)";
  app.add_option("--temperature", sampling.temperature, "0 is greedy; larger is more random")
      ->type_name("T")
      ->check(CLI::Range(0.0, 100.0))
      ->group(kGroup);
  app.add_option("--top-k", sampling.top_k, "Only the K most likely tokens; 0: all")
      ->type_name("K")
      ->check(CLI::NonNegativeNumber)
      ->group(kGroup);
  app.add_option("--top-p", sampling.top_p, "Only the most likely tokens that together have this probability")
      ->type_name("P")
      ->check(CLI::Range(0.0, 1.0))
      ->group(kGroup);
  app.add_option("--min-p", sampling.min_p, "Only tokens this likely, relative to the best one")
      ->type_name("P")
      ->check(CLI::Range(0.0, 1.0))
      ->group(kGroup);
  app.add_option("--repetition-penalty", sampling.repetition_penalty,
                 "Above 1: repeated tokens become less likely")
      ->type_name("R")
      ->check(CLI::PositiveNumber)
      ->group(kGroup);
  app.add_option("--seed", sampling.seed, "Same seed, same answer (default: a new one each time)")
      ->type_name("S")
      ->group(kGroup);
}

void add_max_tokens(CLI::App& app, int64_t& max_tokens) {
  app.add_option("-n,--max-tokens", max_tokens,
                 "Most tokens of the answer (default: up to the end of the context)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
}

void add_json(CLI::App& app, bool& json, const char* description) {
  app.add_flag("--json", json, description);
}

void add_chunk(CLI::App& app, int32_t& chunk) {
  app.add_option("--chunk", chunk, "Tokens of a prompt computed in one step")
      ->type_name("N")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
}

void add_ids(CLI::App& app, std::vector<int32_t>& ids, std::string& ids_file) {
  auto* group = app.add_option_group("Token ids", "exactly one of these");
  group->add_option_function<std::string>("--ids", into(ids, parse_ids), "Token ids, as 1,2,3")
      ->type_name("IDS");
  group
      ->add_option("--ids-file", ids_file,
                   "A .npy file (int32 or int64), or text with ids between spaces, commas or "
                   "line ends")
      ->type_name("FILE");
  group->require_option(1);
}

// The subcommands, and what each leaves in `command` when it was the chosen one.
class Parser {
 public:
  Parser()
      : app_("Pagoda: language models on CPUs. Serve them over an OpenAI-compatible API, or use them here.") {
    app_.name("pagoda");
    app_.set_version_flag("--version", "pagoda " PAGODA_VERSION);
    app_.require_subcommand(1);
    app_.footer(kFooter);
    app_.get_formatter()->column_width(34);
    add_run();
    add_chat();
    add_inspect();
    add_bench();
    add_eval();
  }

  std::expected<Command, int> parse(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      // Success means that help or the version was asked for.
      const int code = app_.exit(error);
      return std::unexpected(code == 0 ? kExitOk : kExitUsage);
    }
    return std::move(make_)();
  }

 private:
  // A subcommand whose arguments become the Command.
  template <class Arguments>
  CLI::App& add(CLI::App& parent, const char* name, const char* description,
                const std::shared_ptr<Arguments>& arguments, const char* examples) {
    CLI::App& app = *parent.add_subcommand(name, description);
    app.footer(std::string("Examples:\n") + examples);
    app.callback([this, arguments] { make_ = [arguments] { return Command(std::move(*arguments)); }; });
    return app;
  }

  void add_run() {
    auto arguments = std::make_shared<RunArguments>();
    CLI::App& app =
        add(app_, "run", "Continue or answer one prompt; the text streams to standard output", arguments,
            "  pagoda run --model smollm2-135m \"The sea is\" --max-tokens 32 --temperature 0\n"
            "  pagoda run --model smollm2-135m --chat --json \"What is a pagoda?\"\n"
            "  cat question.txt | pagoda run --model smollm2-135m --chat -");
    app.add_option("PROMPT", arguments->prompt, "The prompt; '-' reads it from standard input")->required();
    add_model_options(app, arguments->model, "warning");
    app.add_flag("--chat", arguments->chat,
                 "Apply the model's chat template: the prompt is a user's message");
    app.add_option("--system", arguments->system, "System message (with --chat)")
        ->type_name("TEXT")
        ->needs("--chat");
    add_max_tokens(app, arguments->max_tokens);
    app.add_option("--stop", arguments->stop, "End the answer before this text; may be given several times")
        ->type_name("TEXT")
        ->take_all()
        ->expected(1);
    app.add_flag("--ignore-eos", arguments->ignore_eos, "Go on after the model's end token");
    add_json(app, arguments->json, "Print one JSON object at the end: text, ids, finish_reason, timings");
    add_sampling_options(app, arguments->sampling);
  }

  void add_chat() {
    auto arguments = std::make_shared<ChatArguments>();
    CLI::App& app = add(
        app_, "chat", "Talk with a model; /help lists what can be typed, Ctrl-C stops an answer", arguments,
        "  pagoda chat --model smollm2-135m\n"
        "  pagoda chat --model smollm2-135m --system \"Answer in one sentence.\" --temperature 0.2");
    add_model_options(app, arguments->model, "warning");
    app.add_option("--system", arguments->system, "System message")->type_name("TEXT");
    add_max_tokens(app, arguments->max_tokens);
    add_sampling_options(app, arguments->sampling);
  }

  void add_inspect() {
    auto arguments = std::make_shared<InspectArguments>();
    CLI::App& app =
        add(app_, "inspect", "Show what a model file holds, without loading its weights", arguments,
            "  pagoda inspect smollm2-135m\n"
            "  pagoda inspect model.gguf --json");
    app.add_option("MODEL,-m,--model", arguments->model,
                   "A .gguf file, a Hugging Face folder, or the short name of a downloaded model")
        ->type_name("MODEL")
        ->required();
    add_json(app, arguments->json, "Print one JSON object");
  }

  void add_bench() {
    CLI::App& bench = *app_.add_subcommand("bench", "Measure speed, next to the limits of this machine");
    bench.require_subcommand(1);
    add_bench_kind(bench, "prefill", BenchKind::prefill, "Prompt tokens per second", {512}, 5,
                   "  pagoda bench prefill --model smollm2-135m --tokens 128,512 --threads 2");
    add_bench_kind(bench, "decode", BenchKind::decode, "Generated tokens per second, one sequence", {128}, 5,
                   "  pagoda bench decode --model smollm2-135m --depth 2048 --json");
    add_bench_kind(bench, "batch", BenchKind::batch,
                   "Generated tokens per second of several sequences together", {64}, 3,
                   "  pagoda bench batch --model smollm2-135m --sequences 1,8,32");
    add_bench_kind(bench, "kv-cache", BenchKind::kv_cache,
                   "Generation with the KV cache on and off: time and text", {64, 128, 256, 512}, 1,
                   "  pagoda bench kv-cache --model smollm2-135m --tokens 64,128");
  }

  void add_bench_kind(CLI::App& parent, const char* name, BenchKind kind, const char* description,
                      std::vector<int64_t> tokens, int repeat, const char* examples) {
    auto arguments = std::make_shared<BenchArguments>();
    arguments->kind = kind;
    arguments->tokens = std::move(tokens);
    arguments->repeat = repeat;
    arguments->sequences = {1};
    arguments->chunk = 256;
    CLI::App& app = add(parent, name, description, arguments, examples);
    add_model_options(app, arguments->model, "warning");
    app.add_option("--tokens", arguments->tokens,
                   "Tokens of one measurement; several numbers measure several times")
        ->type_name("N,…")
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
          ->type_name("B,…")
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

  void add_eval() {
    CLI::App& eval =
        *app_.add_subcommand("eval", "What a model computes: logits, tokens, templates, perplexity");
    eval.require_subcommand(1);
    add_eval_logits(eval);
    add_eval_generate(eval);
    add_eval_text(eval);
    add_eval_perplexity(eval);
  }

  void add_eval_logits(CLI::App& eval) {
    auto arguments = std::make_shared<EvalLogitsArguments>();
    arguments->chunk = 256;
    CLI::App& app = add(eval, "logits", "Write the logits at every position as a .npy file", arguments,
                        "  pagoda eval logits --model smollm2-135m --ids 1,2,3 --out logits.npy");
    add_model_options(app, arguments->model, "warning");
    add_ids(app, arguments->ids, arguments->ids_file);
    app.add_option("-o,--out", arguments->out, "The file to write: float32 [positions, vocabulary]")
        ->type_name("FILE.npy")
        ->required();
    add_chunk(app, arguments->chunk);
  }

  void add_eval_generate(CLI::App& eval) {
    auto arguments = std::make_shared<EvalGenerateArguments>();
    arguments->chunk = 256;
    arguments->max_tokens = 16;
    CLI::App& app =
        add(eval, "generate", "Continue token ids greedily; end tokens are ordinary tokens", arguments,
            "  pagoda eval generate --model smollm2-135m --ids 1,2,3 --max-tokens 32 --json");
    add_model_options(app, arguments->model, "warning");
    add_ids(app, arguments->ids, arguments->ids_file);
    app.add_option("-n,--max-tokens", arguments->max_tokens, "Tokens to generate")
        ->type_name("N")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    add_chunk(app, arguments->chunk);
    add_json(app, arguments->json, "Print one JSON object: ids and logprobs of the new tokens");
  }

  void add_eval_text(CLI::App& eval) {
    auto tokenize = std::make_shared<EvalTokenizeArguments>();
    CLI::App& tokenize_app =
        add(eval, "tokenize", "Token ids and their pieces of text, for each line of a file", tokenize,
            "  pagoda eval tokenize --model smollm2-135m --file texts.jsonl");
    add_model_name(tokenize_app, tokenize->model);
    tokenize_app.add_option("--file", tokenize->file, "JSON lines with a member 'text'")
        ->type_name("FILE.jsonl")
        ->required();
    tokenize_app.add_flag("--specials-as-text", tokenize->specials_as_text,
                          "Special tokens that stand in the text stay text");

    auto render = std::make_shared<EvalTemplateArguments>();
    CLI::App& render_app =
        add(eval, "template", "Render chats with the model's chat template or another one", render,
            "  pagoda eval template --model smollm2-135m --chats chats.jsonl\n"
            "  pagoda eval template --model smollm2-135m --chats chats.jsonl --template my.jinja");
    add_model_name(render_app, render->model);
    render_app
        .add_option(
            "--chats", render->chats,
            "JSON lines with messages and, where wanted, tools, documents, add_generation_prompt and kwargs")
        ->type_name("FILE.jsonl")
        ->required();
    render_app.add_option("--template", render->template_file, "A template to use instead of the model's")
        ->type_name("FILE.jinja");
  }

  void add_eval_perplexity(CLI::App& eval) {
    auto arguments = std::make_shared<EvalPerplexityArguments>();
    arguments->chunk = 256;
    arguments->context = 2048;
    CLI::App& app = add(
        eval, "perplexity", "Perplexity of a text, in windows whose second halves are scored", arguments,
        "  pagoda eval perplexity --model smollm2-135m --file text.txt --context 2048 --chunks 12 --json");
    add_model_options(app, arguments->model, "warning");
    app.add_option("--file", arguments->file, "The text")->type_name("FILE")->required();
    app.add_option("--context", arguments->context, "Tokens of a window")
        ->type_name("N")
        ->check(CLI::Range(int64_t{4}, int64_t{1} << 30))
        ->capture_default_str();
    app.add_option("--chunks", arguments->max_chunks, "Windows to score (default: all)")
        ->type_name("K")
        ->check(CLI::PositiveNumber);
    add_chunk(app, arguments->chunk);
    add_json(app, arguments->json, "Print one JSON object");
  }

  CLI::App app_;
  std::function<Command()> make_;
};

}  // namespace

std::expected<Command, int> parse_command_line(int argc, const char* const* argv) {
  return Parser().parse(argc, argv);
}

}  // namespace pagoda
