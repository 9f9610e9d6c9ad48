// What one step computes. There is no phase: an item is a sequence and a number of its tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "sched/cost_model.h"

namespace pagoda {

struct PlanItem {
  Sequence* sequence = nullptr;
  int64_t first_position = 0;
  int32_t num_tokens = 0;

  int64_t end_position() const { return first_position + num_tokens; }
};

struct BatchPlan {
  std::vector<PlanItem> items;
};

// Rows of logits that an item asks for: positions [begin, end) of its sequence. The last token known so far
// is sampled after; prompt tokens before it are looked at where their log probabilities are wanted.
struct LogitsRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};
LogitsRange logits_range(const PlanItem& item);
// As the cost model sees it.
WorkItem work_item(const PlanItem& item);
StepWork step_work(const BatchPlan& plan, const AttentionReach& reach);

struct PlanLimits {
  int32_t max_tokens = 0;       // in one step
  int32_t max_logits_rows = 0;  // at least one per sequence
  int32_t prefill_chunk = 0;    // of one sequence in one step
  const CostModel* costs = nullptr;
  double max_seconds = 0;  // that the step may take, as `costs` predicts; 0: no bound
};

// How many sequences may run at once, of at most max_sequences. More than can generate in half of a step's
// time would leave none for prompts and make all of them slow; but those that run stay, and as many as share
// a pass at little cost may always run.
int32_t most_running(std::span<Sequence* const> running, const PlanLimits& limits, int32_t max_sequences);

// Sarathi-Serve (Agrawal et al., OSDI 2024): first one token for each sequence that needs just one, so that
// no stream stalls; the rest of the budget goes to chunks of prompts, in tokens and in time: a chunk is as
// large as fits, and the first one has a block of tokens in any case, so that prompts always advance.
// `ranked`: running sequences, the first to be served first; those being restored are passed over. Pure, but
// for `plan`, which is overwritten so that its memory is used again.
void plan_batch(std::span<Sequence* const> ranked, const PlanLimits& limits, BatchPlan& plan);

}  // namespace pagoda
