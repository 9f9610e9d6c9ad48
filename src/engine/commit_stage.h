// What a step has computed becomes the state of its sequences: lengths, tokens, ends, pages of the prefix
// cache.
#pragma once

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "engine/batch_builder.h"
#include "engine/batch_plan.h"
#include "engine/publisher.h"
#include "engine/roster.h"
#include "engine/stats_board.h"
#include "kv/kv_cache.h"
#include "model/model.h"
#include "sched/cost_model.h"

namespace pagoda {

// A step that ran, as its commit sees it. Valid during the call.
struct ComputedStep {
  std::span<const PlanItem> items;
  std::span<const HiddenJob> hidden_jobs;
  std::span<const float> hidden_states;  // [rows of hidden_jobs][hidden_size]
  std::span<const RowJob> row_jobs;
  std::span<const SampledToken> results;  // of row_jobs
  StepWork work;
  int64_t start_ns = 0;
  int64_t end_ns = 0;  // when its tokens were known
};

// Owned by the engine thread, beside all that it changes.
class CommitStage {
 public:
  struct Parts {
    const ModelInfo& model;
    const Clock& clock;
    const CostModel& costs;
    KvCache& kv;
    Roster& roster;
    StatsBoard& stats;
    Publisher& publisher;
  };
  explicit CommitStage(const Parts& parts) : parts_(parts) {}

  void run(const ComputedStep& step);
  // Outside of a step, too. One that has finished stays as it is.
  void end_sequence(Sequence& sequence, FinishReason reason);
  void end_request(RequestState& request, FinishReason reason, Error error);
  // Since the last call.
  int64_t take_num_sampled_tokens();

 private:
  void commit_item(const PlanItem& item, const ComputedStep& step);
  void commit_hidden(const HiddenJob& job, std::span<const float> hidden_states);
  void commit_row(const RowJob& job, const SampledToken& result, int64_t end_ns);
  void commit_token(Sequence& sequence, const SampledToken& sampled, int64_t end_ns);
  void commit_no_token(Sequence& sequence, const SampledToken& result);
  void check_constraint(Sequence& sequence);
  void retire(Sequence& sequence);

  const Parts parts_;
  int64_t num_sampled_tokens_ = 0;
};

}  // namespace pagoda
