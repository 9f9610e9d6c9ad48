#include "cli/command_line.h"

#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "cli/byte_size.h"
#include "cli/command_options.h"
#include "cli/help_formatter.h"
#include "cli/terminal.h"
#include "cli/token_ids.h"

namespace pagoda {

namespace {

constexpr const char* kFooter =
    "Environment:\n"
    "  PAGODA_ISA=NAME                 force the kernels: scalar, avx2, avxvnni, avx512, avx512_bf16 or amx\n"
    "                                  (default: the fastest of this machine)\n"
    "  PAGODA_MODELS=FOLDER            where short names of models are looked up\n"
    "                                  (default: ~/.cache/pagoda/models)\n"
    "  NO_COLOR=1                      no colours\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage.\n"
    "\n"
    "Examples:\n"
    "  pagoda serve --model smollm2-135m\n"
    "  pagoda run --model smollm2-135m --chat \"Name three rivers.\"\n"
    "  pagoda COMMAND --help";

void add_sampling_options(CLI::App& app, SamplingArguments& sampling) {
  constexpr const char* kGroup = "Sampling (defaults: the model's generation settings)";
  app.add_option("--temperature", sampling.temperature, "0 is greedy; larger is more random")
      ->type_name("T")
      ->check(number_between(0.0, 100.0))
      ->group(kGroup);
  app.add_option("--top-k", sampling.top_k, "Only the K most likely tokens; 0: all")
      ->type_name("K")
      ->check(number_between<int32_t>(0))
      ->group(kGroup);
  app.add_option("--top-p", sampling.top_p, "Only the most likely tokens that together have this probability")
      ->type_name("P")
      ->check(number_between(0.0, 1.0))
      ->group(kGroup);
  app.add_option("--min-p", sampling.min_p, "Only tokens this likely, relative to the best one")
      ->type_name("P")
      ->check(number_between(0.0, 1.0))
      ->group(kGroup);
  app.add_option("--repetition-penalty", sampling.repetition_penalty,
                 "Above 1: repeated tokens become less likely")
      ->type_name("R")
      ->check(number_between<float>(0))
      ->group(kGroup);
  app.add_option("--seed", sampling.seed, "Same seed, same answer (default: a new one each time)")
      ->type_name("S")
      ->check(number_between<uint64_t>(0))
      ->group(kGroup);
}

void add_max_tokens(CLI::App& app, int64_t& max_tokens) {
  app.add_option("-n,--max-tokens", max_tokens,
                 "Most tokens of the answer (default: up to the end of the context)")
      ->type_name("N")
      ->check(number_between<int64_t>(1));
}

void add_ids(CLI::App& app, std::vector<int32_t>& ids, std::string& ids_file) {
  CLI::Option* given =
      app.add_option_function<std::string>("--ids", into(ids, parse_ids, "--ids"), "Token ids, as 1,2,3")
          ->type_name("IDS");
  app.add_option(
         "--ids-file", ids_file,
         "Instead: a .npy file (int32 or int64), or text with ids between spaces, commas or line ends")
      ->type_name("FILE")
      ->excludes(given);
  app.parse_complete_callback([&ids, &ids_file] {
    if (ids.empty() && ids_file.empty()) throw CLI::RequiredError("--ids or --ids-file");
  });
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
    app_.formatter(std::make_shared<HelpFormatter>());
    add_serve_command(app_, make_);
    add_run();
    add_chat();
    add_inspect();
    add_cache_commands(app_, make_);
    add_bench_commands(app_, make_);
    add_simulate_command(app_, make_);
    add_eval();
  }

  std::expected<Command, int> parse(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      // Success means that help or the version was asked for.
      if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
        app_.exit(error);
        return std::unexpected(kExitOk);
      }
      print_usage_error(error);
      return std::unexpected(kExitUsage);
    }
    return make_();
  }

 private:
  void print_usage_error(const CLI::ParseError& error) const {
    const CLI::App* app = &app_;
    std::string name = "pagoda";
    while (!app->get_subcommands().empty()) {
      app = app->get_subcommands().front();
      name += " " + app->get_name();
    }
    const std::vector<std::string> unknown = app->remaining();
    const bool wants_command = !app->get_subcommands([](const CLI::App*) { return true; }).empty();
    const std::string reason = wants_command && !unknown.empty()
                                   ? fmt::format("'{}' is no command of {}", unknown.front(), name)
                                   : error.what();
    fmt::print(stderr, "pagoda: {} {}\nRun '{} --help' for what can be given.\n", red("error:", Stream::err),
               reason, name);
  }

  void add_run() {
    auto arguments = std::make_shared<RunArguments>();
    CLI::App& app = add_command(
        app_, make_, "run", "Continue or answer one prompt; the text streams to standard output", arguments,
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
    CLI::App& app = add_command(
        app_, make_, "chat", "Talk with a model; /help lists what can be typed, Ctrl-C stops an answer",
        arguments,
        "  pagoda chat --model smollm2-135m\n"
        "  pagoda chat --model smollm2-135m --system \"Answer in one sentence.\" --temperature 0.2");
    add_model_options(app, arguments->model, "warning");
    app.add_option("--system", arguments->system, "System message")->type_name("TEXT");
    add_max_tokens(app, arguments->max_tokens);
    add_sampling_options(app, arguments->sampling);
  }

  void add_inspect() {
    auto arguments = std::make_shared<InspectArguments>();
    CLI::App& app = add_command(app_, make_, "inspect",
                                "Show what a model file holds, without loading its weights", arguments,
                                "  pagoda inspect smollm2-135m\n"
                                "  pagoda inspect model.gguf --json");
    app.add_option("MODEL,-m,--model", arguments->model,
                   "A .gguf file, a Hugging Face folder, or the short name of a downloaded model")
        ->type_name("MODEL")
        ->required();
    add_json(app, arguments->json, "Print one JSON object");
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
    CLI::App& app =
        add_command(eval, make_, "logits", "Write the logits at every position as a .npy file", arguments,
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
    CLI::App& app = add_command(
        eval, make_, "generate", "Continue token ids greedily; end tokens are ordinary tokens", arguments,
        "  pagoda eval generate --model smollm2-135m --ids 1,2,3 --max-tokens 32 --json");
    add_model_options(app, arguments->model, "warning");
    add_ids(app, arguments->ids, arguments->ids_file);
    app.add_option("-n,--max-tokens", arguments->max_tokens, "Tokens to generate")
        ->type_name("N")
        ->check(number_between<int64_t>(1))
        ->capture_default_str();
    add_chunk(app, arguments->chunk);
    add_json(app, arguments->json, "Print one JSON object: ids and logprobs of the new tokens");
  }

  void add_eval_text(CLI::App& eval) {
    auto tokenize = std::make_shared<EvalTokenizeArguments>();
    CLI::App& tokenize_app =
        add_command(eval, make_, "tokenize", "Token ids and their pieces of text, for each line of a file",
                    tokenize, "  pagoda eval tokenize --model smollm2-135m --file texts.jsonl");
    add_model_name(tokenize_app, tokenize->model);
    tokenize_app.add_option("--file", tokenize->file, "JSON lines with a member 'text'")
        ->type_name("FILE.jsonl")
        ->required();
    tokenize_app.add_flag("--specials-as-text", tokenize->specials_as_text,
                          "Special tokens that stand in the text stay text");

    auto render = std::make_shared<EvalTemplateArguments>();
    CLI::App& render_app = add_command(
        eval, make_, "template", "Render chats with the model's chat template or another one", render,
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
    CLI::App& app = add_command(
        eval, make_, "perplexity", "Perplexity of a text, in windows whose second halves are scored",
        arguments,
        "  pagoda eval perplexity --model smollm2-135m --file text.txt --context 2048 --chunks 12 --json");
    add_model_options(app, arguments->model, "warning");
    app.add_option("--file", arguments->file, "The text")->type_name("FILE")->required();
    app.add_option("--context", arguments->context, "Tokens of a window")
        ->type_name("N")
        ->check(number_between(int64_t{4}, int64_t{1} << 30))
        ->capture_default_str();
    app.add_option("--chunks", arguments->max_chunks, "Windows to score (default: all)")
        ->type_name("K")
        ->check(number_between<int64_t>(1));
    add_reference_kv_type(app, arguments->reference_kv_type);
    add_chunk(app, arguments->chunk);
    add_json(app, arguments->json, "Print one JSON object");
  }

  CLI::App app_;
  CommandMaker make_;
};

}  // namespace

std::expected<Command, int> parse_command_line(int argc, const char* const* argv) {
  return Parser().parse(argc, argv);
}

}  // namespace pagoda
