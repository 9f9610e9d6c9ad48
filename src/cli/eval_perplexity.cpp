#include <algorithm>
#include <cmath>

#include <boost/json.hpp>

#include "cli/json.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "cli/token_ids.h"
#include "engine/evaluate.h"
#include "model/vocabulary.h"

namespace pagoda {

namespace {

// Mean and spread of the negative log-likelihoods of scored tokens.
struct Score {
  double sum = 0;
  double sum_of_squares = 0;
  int64_t count = 0;

  void add(double nll) {
    sum += nll;
    sum_of_squares += nll * nll;
    ++count;
  }
  double perplexity() const { return std::exp(sum / static_cast<double>(count)); }
  // One standard error, by the delta method.
  double perplexity_error() const {
    const auto n = static_cast<double>(count);
    const double variance = std::max(0.0, sum_of_squares / n - (sum / n) * (sum / n));
    return count > 1 ? std::sqrt(variance / (n - 1)) * perplexity() : 0.0;
  }
};

struct Windows {
  std::vector<int32_t> tokens;
  int64_t length = 0;
  int64_t count = 0;
};

Result<Windows> cut_windows(const Tokenizer& tokenizer, const EvalPerplexityArguments& arguments) {
  PAGODA_TRY(const std::string text, read_text_file(arguments.file));
  Windows windows;
  PAGODA_TRY(windows.tokens, tokenizer.encode(text, Specials::as_text));
  const bool with_bos = tokenizer.adds_bos() && tokenizer.bos_id() >= 0;
  if (with_bos) windows.tokens.insert(windows.tokens.begin(), tokenizer.bos_id());
  windows.length = arguments.context;
  windows.count = static_cast<int64_t>(windows.tokens.size()) / windows.length;
  if (windows.count == 0)
    return fail(ErrorCode::invalid_argument,
                "{}: {} tokens do not fill one window of {}; use a smaller --context", arguments.file,
                windows.tokens.size(), windows.length);
  if (arguments.max_chunks > 0) windows.count = std::min(windows.count, arguments.max_chunks);
  if (with_bos) {
    for (int64_t window = 0; window < windows.count; ++window)
      windows.tokens[static_cast<size_t>(window * windows.length)] = tokenizer.bos_id();
  }
  return windows;
}

// As llama.cpp's perplexity tool does it: windows follow each other without overlap, each starts with an
// empty context, and the predictions made at positions length/2 … length-2 are scored.
Result<Score> score_windows(Evaluator& evaluator, const OpKernels& ops, const Windows& windows) {
  Score score;
  Progress progress("scoring");
  const int64_t first = windows.length / 2;
  for (int64_t window = 0; window < windows.count; ++window) {
    const auto tokens =
        std::span(windows.tokens)
            .subspan(static_cast<size_t>(window * windows.length), static_cast<size_t>(windows.length));
    evaluator.truncate(0, 0);
    // The last token predicts nothing that is scored.
    const auto on_logits = [&](int64_t position, std::span<const float> logits) {
      const auto next = static_cast<size_t>(tokens[static_cast<size_t>(position + 1)]);
      const float total = ops.log_sum_exp(logits.data(), static_cast<int64_t>(logits.size()));
      score.add(static_cast<double>(total) - static_cast<double>(logits[next]));
      const auto done = static_cast<double>(window * windows.length + position);
      progress.update(done / static_cast<double>(windows.count * windows.length));
    };
    PAGODA_TRY_STATUS(
        evaluator.append(0, tokens.first(tokens.size() - 1), static_cast<size_t>(first), on_logits));
  }
  return score;
}

}  // namespace

Status execute(const EvalPerplexityArguments& arguments) {
  PAGODA_TRY(LoadedModel loaded, load_for_evaluation(arguments.model));
  PAGODA_TRY(const auto tokenizer, load_tokenizer(*loaded.file));
  PAGODA_TRY(const Windows windows, cut_windows(*tokenizer, arguments));
  PAGODA_TRY(const int64_t context, choose_context(arguments.model, loaded.model->info(), windows.length));
  PAGODA_TRY(Evaluator evaluator,
             loaded.evaluator({.max_context = context, .max_tokens_per_step = arguments.chunk}));
  PAGODA_TRY(const Score score, score_windows(evaluator, loaded.kernels->ops, windows));
  if (!arguments.json) {
    print_line(fmt::format("perplexity {:.4f} +- {:.4f} over {} windows of {} tokens ({} scored)",
                           score.perplexity(), score.perplexity_error(), windows.count, windows.length,
                           score.count));
    return {};
  }
  print_line(to_json({{"perplexity", score.perplexity()},
                      {"standard_error", score.perplexity_error()},
                      {"windows", windows.count},
                      {"context", windows.length},
                      {"scored_tokens", score.count},
                      {"isa", std::string(to_string(loaded.kernels->isa))}}));
  return {};
}

}  // namespace pagoda
