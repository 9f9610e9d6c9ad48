// From a plan to the flat arrays of a forward pass, and what to do with each row of logits that it returns.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/batch_plan.h"
#include "engine/engine_config.h"
#include "kv/kv_cache.h"
#include "model/model.h"

namespace pagoda {

// Use of a row of logits.
struct RowJob {
  enum class Kind {
    sample,  // the sequence's next token
    score,   // log probability of the prompt token at `position`
  };
  Kind kind = Kind::sample;
  Sequence* sequence = nullptr;
  int64_t position = 0;  // of the token that the row foretells
};

// Jobs [job_begin, job_end) of one row: several where sequences share a prompt.
struct RowJobs {
  int32_t job_begin = 0;
  int32_t job_end = 0;
};

// Hidden states of one item: rows [row_begin, row_begin + num_rows) of the hidden states.
struct HiddenJob {
  Sequence* sequence = nullptr;
  int32_t row_begin = 0;
  int32_t num_rows = 0;
  int64_t end_position = 0;  // of the item
};

// Sized at construction for the largest batch that the configuration allows.
class BatchBuilder {
 public:
  explicit BatchBuilder(const BatchLimits& limits);

  // Valid until the next call or a change of the block tables.
  ForwardBatch build(const BatchPlan& plan, const KvCache& kv);
  // Of the last build: rows in the order of the logits.
  std::span<const RowJob> jobs() const { return jobs_; }
  std::span<const RowJobs> rows() const { return rows_; }
  std::span<const HiddenJob> hidden_jobs() const { return hidden_jobs_; }

 private:
  void add_item(const PlanItem& item, const KvCache& kv);
  void add_hidden(const PlanItem& item, int32_t token_begin);
  void add_rows(const PlanItem& item, int32_t token_begin);

  std::vector<int32_t> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<SequenceSlice> slices_;
  std::vector<int32_t> logits_rows_;
  std::vector<RowJob> jobs_;
  std::vector<RowJobs> rows_;
  std::vector<int32_t> hidden_rows_;
  std::vector<HiddenJob> hidden_jobs_;
};

}  // namespace pagoda
