// Benchmarks of single kernels over synthetic data: no model is needed. All data lies in one working set that
// is larger than the caches; measurements walk through it round and round.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/thread_pool.h"
#include "cli/arguments.h"
#include "cli/bench_machine.h"
#include "kernels/kernels.h"
#include "nn/workspace.h"

namespace pagoda {

// Formats of weights in the order of their importance: what models are stored in comes first.
inline constexpr std::array<LinearFormat, 17> kBenchFormats = {
    {{DType::q4_k},
     {DType::q6_k},
     {DType::q5_0},
     {DType::q8_0},
     {DType::q4_1},
     {DType::q4_0},
     {DType::bf16, FloatActivations::f32, Packing::palette},
     {DType::bf16, FloatActivations::bf16, Packing::palette},
     {DType::bf16},
     {DType::bf16, FloatActivations::bf16},
     {DType::f16},
     {DType::q5_k},
     {DType::q5_1},
     {DType::q3_k},
     {DType::q2_k},
     {DType::iq4_nl},
     {DType::f32}}};
// The name of the weights' format, "palette" for bf16 packed with one; and "_bf16" where the activations are
// rounded, too.
std::string_view to_string(const LinearFormat& format);

// Rows of activations that meet the weights in one pass.
inline constexpr std::array<int64_t, 7> kBenchRows = {1, 2, 3, 4, 8, 64, 512};

inline constexpr size_t kBenchScratchBytes = size_t{64} << 20;

// What measurements run on and with.
struct KernelBench {
  const Kernels& kernels;
  ThreadPool& pool;
  std::span<std::byte> working_set;  // at least bench_working_set_bytes(…); each measurement fills it anew
  Workspace& scratch;                // kBenchScratchBytes, likewise
  const Clock& clock;
};

// One sample: calls piece() until `seconds` have passed, at least once; piece() returns how many items it
// did. Seconds per item.
template <class Piece>
double seconds_per_item(const Clock& clock, double seconds, Piece&& piece) {
  const int64_t start_ns = clock.now_ns();
  const int64_t end_ns = start_ns + static_cast<int64_t>(seconds * 1e9);
  double items = 0;
  int64_t now_ns = start_ns;
  do {
    items += static_cast<double>(piece());
    now_ns = clock.now_ns();
  } while (now_ns < end_ns);
  return static_cast<double>(now_ns - start_ns) * 1e-9 / items;
}

struct LinearFigures {
  int64_t rows = 0;  // of activations: the M of a matrix product
  Spread seconds;    // for one group of 16 rows of weights
  Spread cost;       // relative to one row of activations, measured just before
  Work work;         // of one group
};
// One format at all kBenchRows, in turn within `seconds`.
std::vector<LinearFigures> measure_linear(const KernelBench& bench, const LinearFormat& format,
                                          double seconds);

struct AttentionShape {
  std::string_view name;  // a model that has it
  int num_q_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  KvType kv_type = KvType::bf16;
};
inline constexpr std::array kAttentionShapes = {AttentionShape{"qwen2.5 1.5B", 12, 2, 128},
                                                AttentionShape{"qwen2.5 0.5B", 14, 2, 64},
                                                AttentionShape{"llama 3 8B", 32, 8, 128},
                                                AttentionShape{"smollm2 135M", 9, 3, 64},
                                                AttentionShape{"gemma 3 270M", 4, 1, 256},
                                                AttentionShape{"qwen2.5 1.5B", 12, 2, 128, KvType::f32},
                                                AttentionShape{"qwen2.5 1.5B", 12, 2, 128, KvType::int8},
                                                AttentionShape{"qwen2.5 0.5B", 14, 2, 64, KvType::int8},
                                                AttentionShape{"smollm2 135M", 9, 3, 64, KvType::int8},
                                                AttentionShape{"gemma 3 270M", 4, 1, 256, KvType::int8}};

struct KernelFigures {
  Spread seconds;  // for one piece of work
  Work work;
};
// One new token after `depth` others, layer by layer.
KernelFigures measure_attention(const KernelBench& bench, const AttentionShape& shape, int64_t depth,
                                double seconds);

// What is done to single rows of activations or logits.
enum class RowKernel { quantize_32, quantize_256, rms_norm, silu_multiply, argmax, log_sum_exp };
inline constexpr std::array kRowKernels = {RowKernel::quantize_32, RowKernel::quantize_256,
                                           RowKernel::rms_norm,    RowKernel::silu_multiply,
                                           RowKernel::argmax,      RowKernel::log_sum_exp};
std::string_view to_string(RowKernel kernel);
int64_t row_length(RowKernel kernel);

struct RowFigures {
  KernelFigures from_memory;  // every row is read from memory
  Spread seconds_in_cache;    // each thread has one row that it reads again and again
};
// The working set holds values of f32 (fill_with_values).
RowFigures measure_row_kernel(const KernelBench& bench, RowKernel kernel, double seconds);

// The least working set that attention at these depths, and one matrix of any format, fit into.
size_t bench_working_set_bytes(std::span<const int64_t> depths);

// Fills memory with a repeated run of f32 values in [-1, 1).
void fill_with_values(ThreadPool& pool, std::span<std::byte> memory);

}  // namespace pagoda
