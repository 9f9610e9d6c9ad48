#include "engine/sampling_stage.h"

#include <algorithm>

#include "base/check.h"

namespace pagoda {

SamplingStage::SamplingStage(const Kernels& kernels, int64_t vocab_size, int32_t max_jobs, int num_threads)
    : vocab_size_(vocab_size),
      results_(static_cast<size_t>(max_jobs)),
      top_logprobs_(static_cast<size_t>(max_jobs) * kMaxLogprobs) {
  workers_.reserve(static_cast<size_t>(num_threads));
  for (int thread = 0; thread < num_threads; ++thread)
    workers_.push_back(
        {Sampler(kernels, vocab_size), std::vector<uint32_t>((static_cast<size_t>(vocab_size) + 31) / 32)});
}

std::span<const SampledToken> SamplingStage::run(std::span<const RowJob> jobs, std::span<const RowJobs> rows,
                                                 std::span<float> logits, ThreadPool& pool) {
  PAGODA_CHECK(jobs.size() <= results_.size(), "{} jobs, room for {}", jobs.size(), results_.size());
  const auto width = static_cast<size_t>(vocab_size_);
  pool.parallel_for(rows.size(), 1, [&](size_t begin, size_t end, int worker) {
    for (size_t row = begin; row < end; ++row)
      for (int32_t job = rows[row].job_begin; job < rows[row].job_end; ++job) {
        const auto index = static_cast<size_t>(job);
        run_job(jobs[index], index, logits.subspan(row * width, width),
                workers_[static_cast<size_t>(worker)]);
      }
  });
  return std::span(results_).first(jobs.size());
}

SampledToken SamplingStage::choose(const RowJob& job, std::span<float> row, Worker& worker) {
  Sequence& sequence = *job.sequence;
  const Request& request = sequence.request.request;
  SamplingState state{.prompt = request.prompt,
                      .output = sequence.output.tokens(),
                      .banned = sequence.output.banned(),
                      .seed = sequence.seed,
                      .position = job.position};
  if (!sequence.constraint) return worker.sampler.sample(row, request.sampling, state);
  Constraint& constraint = *sequence.constraint;
  if (is_greedy(request.sampling)) {
    // The best of all tokens is the best of the allowed ones, if it is one of them; asking is cheaper than a
    // mask.
    const SampledToken best = worker.sampler.sample(row, request.sampling, state);
    if (best.token < 0) return best;
    const Result<bool> allowed = constraint.allows(best.token);
    if (allowed && *allowed) return best;
  }
  sequence.constraint_status = constraint.fill_mask(worker.mask);
  if (!sequence.constraint_status) return {.token = kNoTokenAllowed};
  state.mask = worker.mask;
  return worker.sampler.sample(row, request.sampling, state);
}

SampledToken SamplingStage::sample(const RowJob& job, std::span<float> row, Worker& worker) {
  Sequence& sequence = *job.sequence;
  const SampledToken chosen = choose(job, row, worker);
  // Here rather than when the token is committed, because rows are worked on side by side.
  if (sequence.constraint && chosen.token >= 0)
    sequence.constraint_status = sequence.constraint->consume(chosen.token);
  return chosen;
}

void SamplingStage::run_job(const RowJob& job, size_t job_index, std::span<float> row, Worker& worker) {
  const bool scores = job.kind == RowJob::Kind::score;
  SampledToken result = scores ? worker.sampler.score(row, job.sequence->token(job.position),
                                                      job.sequence->request.request.num_prompt_top())
                               : sample(job, row, worker);
  // The sampler's next call overwrites its own list.
  TokenLogprob* top = top_logprobs_.data() + job_index * kMaxLogprobs;
  std::ranges::copy(result.top_logprobs, top);
  result.top_logprobs = {top, result.top_logprobs.size()};
  results_[job_index] = result;
}

}  // namespace pagoda
