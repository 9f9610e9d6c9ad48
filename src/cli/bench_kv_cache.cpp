// What the KV cache is worth: the same text with the cache, and without it by computing the whole context for
// every token.
#include <algorithm>

#include <boost/json.hpp>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "engine/evaluate.h"
#include "model/vocabulary.h"

namespace pagoda {

namespace {

enum class Cache { on, off };

struct Generation {
  std::vector<int32_t> ids;
  std::vector<double> seconds;  // from the start to each token
};

Result<Generation> generate(Bench& bench, Evaluator& evaluator, std::span<const int32_t> prompt,
                            int64_t num_tokens, Cache cache) {
  const OpKernels& ops = bench.loaded.kernels->ops;
  Generation generation;
  Progress progress(cache == Cache::on ? "with the cache" : "without the cache");
  int32_t best = 0;
  const auto take = [&](int64_t, std::span<const float> logits) {
    best = static_cast<int32_t>(ops.argmax(logits.data(), static_cast<int64_t>(logits.size())));
  };
  std::vector<int32_t> context(prompt.begin(), prompt.end());
  evaluator.truncate(0, 0);
  const SteadyClock clock;
  const int64_t start_ns = clock.now_ns();
  for (int64_t i = 0; i < num_tokens; ++i) {
    if (cache == Cache::off) evaluator.truncate(0, 0);
    const auto unseen = std::span(context).subspan(static_cast<size_t>(evaluator.length(0)));
    PAGODA_TRY_STATUS(evaluator.append(0, unseen, unseen.size() - 1, take));
    context.push_back(best);
    generation.seconds.push_back(static_cast<double>(clock.now_ns() - start_ns) * 1e-9);
    progress.update(static_cast<double>(i * i) / static_cast<double>(num_tokens * num_tokens));
  }
  generation.ids.assign(context.begin() + static_cast<std::ptrdiff_t>(prompt.size()), context.end());
  return generation;
}

std::string decode(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  std::string text;
  Detokenizer detokenizer(tokenizer, Detokenizer::SpecialText::show);
  for (const int32_t id : ids) detokenizer.push(id, text);
  detokenizer.finish(text);
  return text;
}

// Seconds until token number `tokens`, in each run.
Spread spread_at(const std::vector<Generation>& runs, int64_t tokens) {
  std::vector<double> seconds;
  seconds.reserve(runs.size());
  for (const Generation& run : runs) seconds.push_back(run.seconds.at(static_cast<size_t>(tokens - 1)));
  return spread_of(std::move(seconds));
}

Result<std::vector<int32_t>> encode_prompt(const Tokenizer& tokenizer, const std::string& text) {
  PAGODA_TRY(std::vector<int32_t> prompt, tokenizer.encode(text, Specials::as_text));
  if (tokenizer.adds_bos() && tokenizer.bos_id() >= 0) prompt.insert(prompt.begin(), tokenizer.bos_id());
  if (prompt.empty()) return fail(ErrorCode::invalid_argument, "--prompt is empty; give it some text");
  return prompt;
}

void print_result(const Bench& bench, const BenchArguments& arguments, int64_t tokens,
                  size_t num_prompt_tokens, const Spread& on, const Spread& off, bool identical,
                  const std::string& text) {
  const double ratio = off.median / on.median;
  if (!arguments.json) {
    print_line(fmt::format("{:>8}{:>14.3f}{:>14.3f}{:>10.1f}   {}", tokens, on.median, off.median, ratio,
                           identical ? "identical" : "DIFFERENT"));
    return;
  }
  const auto count = static_cast<double>(tokens);
  boost::json::object object;
  object["bench"] = std::string(to_string(BenchKind::kv_cache));
  object["tokens"] = tokens;
  object["prompt_tokens"] = num_prompt_tokens;
  object["repeat"] = arguments.repeat;
  object["tokens_per_second"] = {
      {"min", count / on.max}, {"median", count / on.median}, {"max", count / on.min}};
  object["tokens_per_second_without_cache"] = {
      {"min", count / off.max}, {"median", count / off.median}, {"max", count / off.min}};
  object["seconds_with_cache"] = on.median;
  object["seconds_without_cache"] = off.median;
  object["ratio"] = ratio;
  object["identical"] = identical;
  object["text"] = text;
  add_common_members(bench, object);
  print_line(to_json(object));
}

}  // namespace

Status run_kv_cache_bench(Bench& bench, const BenchArguments& arguments) {
  PAGODA_TRY(const auto tokenizer, load_tokenizer(*bench.loaded.file));
  PAGODA_TRY(const std::vector<int32_t> prompt, encode_prompt(*tokenizer, arguments.prompt));
  const int64_t most = *std::ranges::max_element(arguments.tokens);
  PAGODA_TRY(const int64_t context, choose_context(arguments.model, bench.loaded.model->info(),
                                                   static_cast<int64_t>(prompt.size()) + most));
  PAGODA_TRY(Evaluator evaluator,
             bench.loaded.evaluator({.max_context = context, .max_tokens_per_step = arguments.chunk}));
  std::vector<Generation> with_cache;
  std::vector<Generation> without_cache;
  for (int run = 0; run < arguments.repeat; ++run) {
    PAGODA_TRY(with_cache.emplace_back(), generate(bench, evaluator, prompt, most, Cache::on));
    PAGODA_TRY(without_cache.emplace_back(), generate(bench, evaluator, prompt, most, Cache::off));
  }
  const bool identical = std::ranges::all_of(with_cache,
                                             [&](const Generation& generation) {
                                               return generation.ids == with_cache.front().ids;
                                             }) &&
                         std::ranges::all_of(without_cache, [&](const Generation& generation) {
                           return generation.ids == with_cache.front().ids;
                         });
  if (!arguments.json) {
    print_line(bold(
        fmt::format("{:>8}{:>14}{:>14}{:>10}   {}", "tokens", "cache on, s", "cache off, s", "ratio", "text"),
        Stream::out));
  }
  for (const int64_t tokens : arguments.tokens) {
    const auto ids = std::span(with_cache.front().ids).first(static_cast<size_t>(tokens));
    print_result(bench, arguments, tokens, prompt.size(), spread_at(with_cache, tokens),
                 spread_at(without_cache, tokens), identical, decode(*tokenizer, ids));
  }
  if (!identical) return fail(ErrorCode::internal, "the cache changes the text: this is a bug in Pagoda");
  return {};
}

}  // namespace pagoda
