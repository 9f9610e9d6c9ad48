#include "engine/commit_stage.h"

#include <utility>

namespace pagoda {

void CommitStage::run(const ComputedStep& step) {
  for (const PlanItem& item : step.items) commit_item(item, step);
  for (const HiddenJob& job : step.hidden_jobs) commit_hidden(job, step.hidden_states);
  for (size_t i = 0; i < step.row_jobs.size(); ++i)
    commit_row(step.row_jobs[i], step.results[i], step.end_ns);
  for (const PlanItem& item : step.items) {
    if (item.sequence->state != SequenceState::running || item.sequence->num_remaining() > 0) continue;
    for (const auto& sequence : item.sequence->request.sequences)
      end_sequence(*sequence, FinishReason::length);
  }
}

void CommitStage::commit_item(const PlanItem& item, const ComputedStep& step) {
  Sequence& sequence = *item.sequence;
  RequestState& request = sequence.request;
  parts_.kv.commit(sequence.kv, item.end_position());
  parts_.kv.publish(sequence.kv, SequenceKeys(sequence));
  sequence.num_computed = item.end_position();
  // A request's sequences share its steps.
  if (std::exchange(request.last_served_ns, step.end_ns) != step.end_ns)
    request.served_ns += step.end_ns - step.start_ns;
  parts_.roster.advance(sequence, parts_.costs.share(step.work, work_item(item)), step.end_ns);
  if (!request.prompt_done && sequence.num_computed >= request.num_prompt()) {
    request.finish_prompt(parts_.kv.published_length(sequence.kv));
    parts_.stats.record_prompt(request);
    parts_.roster.fork_followers(sequence);
  }
}

void CommitStage::commit_hidden(const HiddenJob& job, std::span<const float> hidden_states) {
  RequestState& request = job.sequence->request;
  const auto width = static_cast<size_t>(parts_.model.hidden_size);
  request.embedding.add(hidden_states.subspan(static_cast<size_t>(job.row_begin) * width,
                                              static_cast<size_t>(job.num_rows) * width),
                        job.end_position);
  if (!request.embedding.complete() || request.embedding.finish()) return;
  end_request(
      request, FinishReason::error,
      {ErrorCode::internal, "the model computed values that are not numbers; its weights may be damaged"});
}

void CommitStage::commit_row(const RowJob& job, const SampledToken& result, int64_t end_ns) {
  Sequence& sequence = *job.sequence;
  RequestState& request = sequence.request;
  if (sequence.state != SequenceState::running) return;
  if (result.token < 0) {
    commit_no_token(sequence, result);
  } else if (job.kind == RowJob::Kind::score) {
    request.scores.set(job.position - 1, result, request.request.num_prompt_top());
    request.scores.num_scored = job.position;
  } else {
    commit_token(sequence, result, end_ns);
  }
}

void CommitStage::commit_no_token(Sequence& sequence, const SampledToken& result) {
  if (result.token != kNoTokenAllowed) {
    parts_.stats.record_corruption();
    return end_request(
        sequence.request, FinishReason::error,
        {ErrorCode::internal, "the model computed logits that are not numbers; its weights may be damaged"});
  }
  if (!sequence.constraint_status)
    return end_request(sequence.request, FinishReason::error, sequence.constraint_status.error());
  if (sequence.constraint && !sequence.constraint->is_accepting().value_or(false))
    return end_request(sequence.request, FinishReason::error,
                       {ErrorCode::invalid_argument, "no token of the vocabulary fits the constraint here"});
  end_sequence(sequence, FinishReason::stop);
}

void CommitStage::check_constraint(Sequence& sequence) {
  if (!sequence.constraint || sequence.output.finish_reason()) return;
  if (!sequence.constraint_status)
    return end_request(sequence.request, FinishReason::error, sequence.constraint_status.error());
  if (sequence.constraint->is_finished()) sequence.output.end(FinishReason::stop);
}

void CommitStage::commit_token(Sequence& sequence, const SampledToken& sampled, int64_t end_ns) {
  RequestState& request = sequence.request;
  sequence.output.push(sampled);
  sequence.num_generated = sequence.output.num_tokens();
  check_constraint(sequence);
  if (sequence.state != SequenceState::running) return;
  ++num_sampled_tokens_;
  parts_.stats.record_token(sequence, end_ns);
  if (sequence.first_token_ns < 0) sequence.first_token_ns = end_ns;
  if (request.first_token_ns < 0) request.first_token_ns = end_ns;
  sequence.last_token_ns = end_ns;
  request.last_token_ns = end_ns;
  if (sequence.output.finish_reason()) retire(sequence);
  parts_.publisher.add(sequence);
}

void CommitStage::end_sequence(Sequence& sequence, FinishReason reason) {
  if (sequence.state == SequenceState::finished) return;
  sequence.output.end(reason);
  retire(sequence);
  parts_.publisher.add(sequence);
}

void CommitStage::end_request(RequestState& request, FinishReason reason, Error error) {
  if (request.num_unfinished == 0) return;
  request.status = std::unexpected(std::move(error));
  for (const auto& sequence : request.sequences) end_sequence(*sequence, reason);
}

void CommitStage::retire(Sequence& sequence) {
  parts_.roster.finish(sequence, parts_.clock.now_ns());
  parts_.stats.record_sequence_end(sequence);
}

int64_t CommitStage::take_num_sampled_tokens() {
  return std::exchange(num_sampled_tokens_, 0);
}

}  // namespace pagoda
