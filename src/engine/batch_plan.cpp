#include "engine/batch_plan.h"

#include <algorithm>

namespace pagoda {

LogitsRange logits_range(const PlanItem& item) {
  const Sequence& sequence = *item.sequence;
  const PromptScores& scores = sequence.request.scores;
  const bool samples = item.end_position() == sequence.num_known() && sequence.request.rules.max_tokens > 0;
  const int64_t scored_begin = std::max(item.first_position, scores.num_scored);
  const int64_t scored_end = std::min(item.end_position(), scores.num_rows);
  if (scored_begin < scored_end) return {scored_begin, samples ? item.end_position() : scored_end};
  return {item.end_position() - (samples ? 1 : 0), item.end_position()};
}

namespace {

// The greatest chunk of at most max_tokens that asks for at most max_rows rows.
int32_t fit_rows(Sequence& sequence, int32_t max_tokens, int64_t max_rows) {
  PlanItem item{&sequence, sequence.num_computed, max_tokens};
  while (item.num_tokens > 0) {
    const int64_t excess = logits_range(item).size() - max_rows;
    if (excess <= 0) break;
    item.num_tokens -= static_cast<int32_t>(std::min<int64_t>(excess, item.num_tokens));
  }
  return item.num_tokens;
}

}  // namespace

void plan_batch(std::span<Sequence* const> ranked, const PlanLimits& limits, BatchPlan& plan) {
  plan.items.clear();
  int32_t tokens_left = limits.max_tokens;
  int64_t rows_left = limits.max_logits_rows;
  const auto add = [&](Sequence& sequence, int32_t wanted) {
    const int32_t num_tokens = fit_rows(sequence, std::min(wanted, tokens_left), rows_left);
    if (num_tokens <= 0) return;
    plan.items.push_back({&sequence, sequence.num_computed, num_tokens});
    tokens_left -= num_tokens;
    rows_left -= logits_range(plan.items.back()).size();
  };
  for (Sequence* sequence : ranked)
    if (sequence->num_remaining() == 1 && !sequence->restoring) add(*sequence, 1);
  for (Sequence* sequence : ranked) {
    if (sequence->num_remaining() <= 1 || sequence->restoring) continue;
    add(*sequence, static_cast<int32_t>(std::min<int64_t>(sequence->num_remaining(), limits.prefill_chunk)));
  }
}

}  // namespace pagoda
