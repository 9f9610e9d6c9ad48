// What the blocks of one forward pass share: threads, kernels and scratch memory.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "nn/activation_rows.h"

namespace pagoda {

struct Step {
  ThreadPool& pool;
  const Kernels& kernels;
  int64_t num_tokens = 0;
  int64_t hidden_size = 0;
  std::span<float> residual;  // [num_tokens][hidden_size], the residual stream
  std::span<float>
      block_output;       // the same shape; only where a block's output is normalised before it is added
  std::span<float> wide;  // results of the linear layers inside a block
  std::span<float> worker_rows;  // [num_threads][hidden_size]
  ActivationRows activations;    // the input of the next linear layers
};

inline std::span<float> worker_row(const Step& step, int worker) {
  const auto size = static_cast<size_t>(step.hidden_size);
  return step.worker_rows.subspan(static_cast<size_t>(worker) * size, size);
}

inline float* residual_row(const Step& step, int64_t token) {
  return step.residual.data() + token * step.hidden_size;
}

}  // namespace pagoda
