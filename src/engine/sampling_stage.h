// Rows of logits -> tokens, on all threads: rows are independent, so the outcome does not depend on who takes
// which.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/batch_builder.h"
#include "kernels/kernels.h"
#include "sample/sampler.h"

namespace pagoda {

class SamplingStage {
 public:
  SamplingStage(const Kernels& kernels, int64_t vocab_size, int32_t max_jobs, int num_threads);

  // logits: [rows.size()][vocab_size]. Returns one result per job; valid until the next call.
  std::span<const SampledToken> run(std::span<const RowJob> jobs, std::span<const RowJobs> rows,
                                    std::span<float> logits, ThreadPool& pool);

 private:
  struct Worker {
    Sampler sampler;
    std::vector<uint32_t> mask;  // of one row
  };
  void run_job(const RowJob& job, size_t job_index, std::span<float> row, Worker& worker);
  // The next token of a sequence, which its constraint follows.
  SampledToken sample(const RowJob& job, std::span<float> row, Worker& worker);
  SampledToken choose(const RowJob& job, std::span<float> row, Worker& worker);

  int64_t vocab_size_;
  std::vector<Worker> workers_;             // one per thread
  std::vector<SampledToken> results_;       // one per job
  std::vector<TokenLogprob> top_logprobs_;  // [job][kMaxLogprobs]
};

}  // namespace pagoda
