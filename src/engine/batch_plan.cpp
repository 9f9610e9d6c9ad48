#include "engine/batch_plan.h"

#include <algorithm>
#include <utility>

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

WorkItem work_item(const PlanItem& item) {
  return {item.first_position, item.num_tokens, logits_range(item).size()};
}

StepWork step_work(const BatchPlan& plan, const AttentionReach& reach) {
  StepWork work;
  for (const PlanItem& item : plan.items) work.add(work_item(item), reach);
  return work;
}

namespace {

constexpr int64_t kLeastChunk = kFewTokens;

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

// Adds items to a plan while its limits allow.
class Planner {
 public:
  Planner(const PlanLimits& limits, BatchPlan& plan)
      : limits_(limits), plan_(plan), tokens_left_(limits.max_tokens), rows_left_(limits.max_logits_rows) {}

  void add_decode(Sequence& sequence) { add(sequence, 1); }
  void add_chunk(Sequence& sequence) {
    const int64_t most =
        std::min<int64_t>({sequence.num_remaining(), int64_t{limits_.prefill_chunk}, int64_t{tokens_left_}});
    if (most > 0) add(sequence, static_cast<int32_t>(fit_time(sequence, most)));
  }

 private:
  int64_t fit_time(const Sequence& sequence, int64_t most) {
    const bool has_chunk = std::exchange(has_chunk_, true);
    if (limits_.max_seconds <= 0) return most;
    const int64_t fitting =
        limits_.costs->largest_chunk(work_,
                                     {.first_position = sequence.num_computed,
                                      .most_tokens = most,
                                      .ends_prompt = most == sequence.num_remaining(),
                                      .logits_everywhere = !sequence.request.scores.complete()},
                                     limits_.max_seconds);
    return has_chunk ? fitting : std::max(fitting, std::min(most, kLeastChunk));
  }
  void add(Sequence& sequence, int32_t wanted) {
    const int32_t num_tokens = fit_rows(sequence, std::min(wanted, tokens_left_), rows_left_);
    if (num_tokens <= 0) return;
    const PlanItem item = {&sequence, sequence.num_computed, num_tokens};
    plan_.items.push_back(item);
    tokens_left_ -= num_tokens;
    rows_left_ -= logits_range(item).size();
    if (limits_.max_seconds > 0) work_.add(work_item(item), limits_.costs->reach());
  }

  const PlanLimits& limits_;
  BatchPlan& plan_;
  int32_t tokens_left_;
  int64_t rows_left_;
  StepWork work_;
  bool has_chunk_ = false;
};

}  // namespace

int32_t most_running(std::span<Sequence* const> running, const PlanLimits& limits, int32_t max_sequences) {
  if (limits.max_seconds <= 0) return max_sequences;
  const AttentionReach& reach = limits.costs->reach();
  StepWork decodes;
  int64_t positions = 0;
  for (const Sequence* sequence : running) {
    decodes.add({sequence->num_known(), 1, 1}, reach);
    positions += sequence->num_known();
  }
  auto most = static_cast<int32_t>(running.size());
  const int64_t usual_length = positions / std::max(most, 1);
  for (; most < max_sequences; ++most) {
    decodes.add({usual_length, 1, 1}, reach);
    if (most >= kFewTokens && limits.costs->predict(decodes) > limits.max_seconds / 2) break;
  }
  return most;
}

void plan_batch(std::span<Sequence* const> ranked, const PlanLimits& limits, BatchPlan& plan) {
  plan.items.clear();
  Planner planner(limits, plan);
  for (Sequence* sequence : ranked)
    if (sequence->num_remaining() == 1 && !sequence->restoring) planner.add_decode(*sequence);
  for (Sequence* sequence : ranked)
    if (sequence->num_remaining() > 1 && !sequence->restoring) planner.add_chunk(*sequence);
}

}  // namespace pagoda
