#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "cli/json.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "cli/token_ids.h"
#include "engine/evaluate.h"

namespace pagoda {

namespace {

struct GreedyTokens {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
};

Result<GreedyTokens> generate(Evaluator& evaluator, const OpKernels& ops, std::span<const int32_t> prompt,
                              int64_t max_tokens) {
  GreedyTokens generated;
  const auto take = [&](int64_t, std::span<const float> logits) {
    const auto size = static_cast<int64_t>(logits.size());
    const int64_t best = ops.argmax(logits.data(), size);
    generated.ids.push_back(static_cast<int32_t>(best));
    generated.logprobs.push_back(logits[static_cast<size_t>(best)] - ops.log_sum_exp(logits.data(), size));
  };
  PAGODA_TRY_STATUS(evaluator.append(0, prompt, prompt.size() - 1, take));
  Progress progress("generating");
  while (static_cast<int64_t>(generated.ids.size()) < max_tokens) {
    const int32_t last = generated.ids.back();
    PAGODA_TRY_STATUS(evaluator.append(0, {&last, 1}, 0, take));
    progress.update(static_cast<double>(generated.ids.size()) / static_cast<double>(max_tokens));
  }
  return generated;
}

}  // namespace

Status execute(const EvalGenerateArguments& arguments) {
  std::vector<int32_t> prompt = arguments.ids;
  if (prompt.empty()) {
    PAGODA_TRY(prompt, read_ids_file(arguments.ids_file));
  }
  PAGODA_TRY(LoadedModel loaded, load_for_evaluation(arguments.model));
  // The last token is not fed back, so it needs no place.
  const int64_t wanted = static_cast<int64_t>(prompt.size()) + arguments.max_tokens - 1;
  PAGODA_TRY(const int64_t context, choose_context(arguments.model, loaded.model->info(), wanted));
  PAGODA_TRY(Evaluator evaluator,
             loaded.evaluator({.max_context = context, .max_tokens_per_step = arguments.chunk}));
  PAGODA_TRY(const GreedyTokens generated,
             generate(evaluator, loaded.kernels->ops, prompt, arguments.max_tokens));
  if (!arguments.json) {
    print_line(fmt::format("{}", fmt::join(generated.ids, ",")));
    return {};
  }
  boost::json::array logprobs;
  for (const float logprob : generated.logprobs) logprobs.emplace_back(float_number(logprob));
  print_line(to_json({{"ids", boost::json::array(generated.ids.begin(), generated.ids.end())},
                      {"logprobs", std::move(logprobs)}}));
  return {};
}

}  // namespace pagoda
