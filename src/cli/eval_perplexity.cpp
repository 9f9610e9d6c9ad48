#include <algorithm>
#include <optional>
#include <utility>

#include <boost/json.hpp>

#include "cli/input_file.h"
#include "cli/json.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "cli/token_scores.h"
#include "engine/evaluate.h"
#include "model/vocabulary.h"

namespace pagoda {

namespace {

struct Windows {
  std::vector<int32_t> tokens;
  int64_t length = 0;
  int64_t count = 0;

  std::span<const int32_t> window(int64_t index) const {
    return std::span(tokens).subspan(static_cast<size_t>(index * length), static_cast<size_t>(length));
  }
};

Result<Windows> cut_windows(const Tokenizer& tokenizer, const EvalPerplexityArguments& arguments) {
  PAGODA_TRY(const std::string text, read_input_file(arguments.file));
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

// The same model with another type of KV cache, and how far the tested one is from it.
struct Reference {
  KvType kv_type;
  Evaluator evaluator;
  LikelihoodScore score;
  Divergence divergence;
  std::vector<float> logits = {};  // of the scored tokens of a piece: [token][vocab_size]
};

// As llama.cpp's perplexity tool does it: windows follow each other without overlap, each starts with an
// empty context, and the predictions made at positions length/2 … length-2 are scored.
class Scorer {
 public:
  Scorer(Evaluator evaluator, std::optional<Reference> reference, const OpKernels& ops, int64_t vocab_size)
      : evaluator_(std::move(evaluator)),
        score_(ops),
        reference_(std::move(reference)),
        piece_tokens_(fitting_rows(vocab_size)) {}

  Status add(std::span<const int32_t> window) {
    evaluator_.truncate(0, 0);
    if (reference_) reference_->evaluator.truncate(0, 0);
    const size_t first_scored = window.size() / 2;
    PAGODA_TRY_STATUS(add_piece(window, 0, first_scored, first_scored));
    // The last token predicts nothing that is scored.
    for (size_t begin = first_scored; begin + 1 < window.size(); begin += piece_tokens_)
      PAGODA_TRY_STATUS(add_piece(window, begin, std::min(begin + piece_tokens_, window.size() - 1), begin));
    return {};
  }

  const LikelihoodScore& score() const { return score_; }
  const std::optional<Reference>& reference() const { return reference_; }

 private:
  static size_t fitting_rows(int64_t vocab_size) {
    constexpr size_t kLogitsBytes = size_t{64} << 20;
    return std::max<size_t>(1, kLogitsBytes / sizeof(float) / static_cast<size_t>(vocab_size));
  }

  // Tokens [begin, end) of a window, those from first_scored on with what they predict.
  Status add_piece(std::span<const int32_t> window, size_t begin, size_t end, size_t first_scored) {
    const auto tokens = window.subspan(begin, end - begin);
    const auto next_of = [&](int64_t position) { return window[static_cast<size_t>(position + 1)]; };
    if (reference_) {
      reference_->logits.clear();
      PAGODA_TRY_STATUS(reference_->evaluator.append(
          0, tokens, first_scored - begin, [&](int64_t position, std::span<const float> logits) {
            reference_->score.add(logits, next_of(position));
            reference_->logits.insert(reference_->logits.end(), logits.begin(), logits.end());
          }));
    }
    return evaluator_.append(0, tokens, first_scored - begin,
                             [&](int64_t position, std::span<const float> logits) {
                               score_.add(logits, next_of(position));
                               if (!reference_) return;
                               const size_t row = static_cast<size_t>(position) - first_scored;
                               reference_->divergence.add(
                                   std::span(reference_->logits).subspan(row * logits.size(), logits.size()),
                                   logits, next_of(position));
                             });
  }

  Evaluator evaluator_;
  LikelihoodScore score_;
  std::optional<Reference> reference_;
  size_t piece_tokens_;
};

Result<Scorer> make_scorer(LoadedModel& loaded, const EvalPerplexityArguments& arguments, int64_t context) {
  EvaluatorLimits limits = {.max_context = context, .max_tokens_per_step = arguments.chunk};
  PAGODA_TRY(Evaluator evaluator, loaded.evaluator(limits));
  const OpKernels& ops = loaded.kernels->ops;
  std::optional<Reference> reference;
  if (arguments.reference_kv_type) {
    limits.kv_type = arguments.reference_kv_type;
    PAGODA_TRY(Evaluator other, loaded.evaluator(limits));
    reference.emplace(
        Reference{*arguments.reference_kv_type, std::move(other), LikelihoodScore(ops), Divergence(ops)});
  }
  return Scorer(std::move(evaluator), std::move(reference), ops, loaded.model->info().vocab_size);
}

void print_text(const Scorer& scorer, const Windows& windows) {
  const LikelihoodScore& score = scorer.score();
  print_line(fmt::format("perplexity {:.4f} +- {:.4f} over {} windows of {} tokens ({} scored)",
                         score.perplexity(), score.perplexity_error(), windows.count, windows.length,
                         score.count()));
  if (const std::optional<Reference>& reference = scorer.reference())
    print_line(fmt::format(
        "with a KV cache of {}: perplexity {:.4f} ({:+.3f} +- {:.3f} %), divergence {:.3e} nats, the same "
        "best token at {:.2f} %",
        to_string(reference->kv_type), reference->score.perplexity(),
        100 * reference->divergence.perplexity_change(),
        100 * reference->divergence.perplexity_change_error(), reference->divergence.mean(),
        100 * reference->divergence.same_best_share()));
}

void print_json(const Scorer& scorer, const Windows& windows, const LoadedModel& loaded) {
  const LikelihoodScore& score = scorer.score();
  boost::json::object object = {{"perplexity", score.perplexity()},
                                {"standard_error", score.perplexity_error()},
                                {"windows", windows.count},
                                {"context", windows.length},
                                {"scored_tokens", score.count()},
                                {"kv_type", std::string(to_string(loaded.model->info().kv_shape.type))},
                                {"isa", std::string(to_string(loaded.kernels->isa))}};
  if (const std::optional<Reference>& reference = scorer.reference())
    object["reference"] = {{"kv_type", std::string(to_string(reference->kv_type))},
                           {"perplexity", reference->score.perplexity()},
                           {"perplexity_change", reference->divergence.perplexity_change()},
                           {"perplexity_change_error", reference->divergence.perplexity_change_error()},
                           {"divergence", reference->divergence.mean()},
                           {"same_best_token", reference->divergence.same_best_share()}};
  print_line(to_json(object));
}

}  // namespace

Status execute(const EvalPerplexityArguments& arguments) {
  PAGODA_TRY(LoadedModel loaded, load_for_evaluation(arguments.model));
  PAGODA_TRY(const auto tokenizer, load_tokenizer(*loaded.file));
  PAGODA_TRY(const Windows windows, cut_windows(*tokenizer, arguments));
  PAGODA_TRY(const int64_t context, choose_context(arguments.model, loaded.model->info(), windows.length));
  PAGODA_TRY(Scorer scorer, make_scorer(loaded, arguments, context));
  Progress progress("scoring");
  for (int64_t index = 0; index < windows.count; ++index) {
    PAGODA_TRY_STATUS(scorer.add(windows.window(index)));
    progress.update(static_cast<double>(index + 1) / static_cast<double>(windows.count));
  }
  if (arguments.json)
    print_json(scorer, windows, loaded);
  else
    print_text(scorer, windows);
  return {};
}

}  // namespace pagoda
