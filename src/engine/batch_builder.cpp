#include "engine/batch_builder.h"

#include <algorithm>

namespace pagoda {

namespace {

bool needs_only_greatest(const RowJob& job) {
  const Sequence& sequence = *job.sequence;
  return job.kind == RowJob::Kind::sample && !sequence.constraint && sequence.output.banned().empty() &&
         needs_only_greatest(sequence.request.request.sampling);
}

}  // namespace

BatchBuilder::BatchBuilder(const BatchLimits& limits) {
  const auto max_tokens = static_cast<size_t>(limits.max_tokens);
  const auto max_rows = static_cast<size_t>(limits.max_logits_rows);
  token_ids_.reserve(max_tokens);
  positions_.reserve(max_tokens);
  slices_.reserve(static_cast<size_t>(limits.max_sequences));
  logits_rows_.reserve(max_rows);
  rows_.reserve(max_rows);
  jobs_.reserve(max_rows + static_cast<size_t>(limits.max_sequences));
  hidden_rows_.reserve(max_tokens);
  hidden_jobs_.reserve(static_cast<size_t>(limits.max_sequences));
}

ForwardBatch BatchBuilder::build(const BatchPlan& plan, const KvCache& kv) {
  token_ids_.clear();
  positions_.clear();
  slices_.clear();
  logits_rows_.clear();
  jobs_.clear();
  rows_.clear();
  hidden_rows_.clear();
  hidden_jobs_.clear();
  // Hidden states come after all logits.
  for (const bool embeds : {false, true})
    for (const PlanItem& item : plan.items)
      if (item.sequence->request.embedding.wanted() == embeds) add_item(item, kv);
  return {.token_ids = token_ids_,
          .positions = positions_,
          .sequences = slices_,
          .logits_rows = logits_rows_,
          .hidden_rows = hidden_rows_,
          .only_greatest =
              std::ranges::all_of(jobs_, [](const RowJob& job) { return needs_only_greatest(job); })};
}

void BatchBuilder::add_item(const PlanItem& item, const KvCache& kv) {
  const auto token_begin = static_cast<int32_t>(token_ids_.size());
  for (int64_t position = item.first_position; position < item.end_position(); ++position) {
    token_ids_.push_back(item.sequence->token(position));
    positions_.push_back(static_cast<int32_t>(position));
  }
  slices_.push_back({.token_begin = token_begin,
                     .num_tokens = item.num_tokens,
                     .first_position = item.first_position,
                     .page_table = kv.page_table(item.sequence->kv)});
  if (item.sequence->request.embedding.wanted())
    add_hidden(item, token_begin);
  else
    add_rows(item, token_begin);
}

void BatchBuilder::add_hidden(const PlanItem& item, int32_t token_begin) {
  const PositionRange range =
      item.sequence->request.embedding.rows_of(item.first_position, item.end_position());
  hidden_jobs_.push_back({.sequence = item.sequence,
                          .row_begin = static_cast<int32_t>(hidden_rows_.size()),
                          .num_rows = static_cast<int32_t>(range.size()),
                          .end_position = item.end_position()});
  for (int64_t position = range.begin; position < range.end; ++position)
    hidden_rows_.push_back(token_begin + static_cast<int32_t>(position - item.first_position));
}

void BatchBuilder::add_rows(const PlanItem& item, int32_t token_begin) {
  const LogitsRange range = logits_range(item);
  for (int64_t position = range.begin; position < range.end; ++position) {
    logits_rows_.push_back(token_begin + static_cast<int32_t>(position - item.first_position));
    const auto job_begin = static_cast<int32_t>(jobs_.size());
    if (position + 1 < item.sequence->num_known()) {
      jobs_.push_back({.kind = RowJob::Kind::score, .sequence = item.sequence, .position = position + 1});
    } else {
      jobs_.push_back({.kind = RowJob::Kind::sample, .sequence = item.sequence, .position = position + 1});
      if (item.sequence->index == 0) {
        for (const auto& other : item.sequence->request.sequences)
          if (other->state == SequenceState::follower)
            jobs_.push_back(
                {.kind = RowJob::Kind::sample, .sequence = other.get(), .position = position + 1});
      }
    }
    rows_.push_back({job_begin, static_cast<int32_t>(jobs_.size())});
  }
}

}  // namespace pagoda
