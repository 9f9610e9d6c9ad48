// Linear layers over all threads: one job for all layers that read the same input.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "nn/activation_rows.h"
#include "weights/decoder_weights.h"

namespace pagoda {

// The layers of one job, in the order of its calls; those that do not exist count for nothing.
using LinearGroup = std::span<const LinearWeight* const>;

// Multiply-adds of one token, of weights read from memory, that take about a microsecond.
inline constexpr int64_t kMacsPerChunk = 64 * 1024;

struct LinearCall {
  const LinearWeight* weight = nullptr;
  float* out = nullptr;    // [num_tokens][out_stride]
  int64_t out_stride = 0;  // in elements
  Store store = Store::overwrite;
};

// Computes all calls (at most 4) for num_tokens rows of `input`, which holds the formats that they need. Work
// is cut in whole groups of rows and, where those are few and tokens many, in runs of tokens; neither changes
// a bit.
void run_linears(ThreadPool& pool, const Kernels& kernels, const ActivationRows& input, int64_t num_tokens,
                 std::span<const LinearCall> calls) noexcept;

// Tells waiting threads which layers the job after the next one, or the next one, computes: each begins to
// fetch the weights where its part of them begins. Does nothing for many tokens, whose weights are not waited
// for, and where the processor fetches by itself alone (Prefetch::weight_bytes).
void announce_linears(ThreadPool& pool, const Kernels& kernels, int64_t num_tokens,
                      LinearGroup group) noexcept;

}  // namespace pagoda
