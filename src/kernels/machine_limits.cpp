#include "kernels/machine_limits.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/clock.h"
#include "kernels/isa/peak.h"

namespace pagoda {

namespace {

constexpr int kRuns = 6;
constexpr size_t kReadPieceBytes = size_t{16} << 20;
constexpr size_t kReadBytes = size_t{512} << 20;
constexpr int64_t kOpsPerItem = int64_t{1} << 27;  // under a millisecond on a vector unit
constexpr int64_t kItemsPerThread = 24;

PeakKernels peak_kernels_for(Isa isa) {
#ifdef PAGODA_X86_KERNELS
  if (isa >= Isa::avx512) return isa_avx512::peak_kernels();
  if (isa >= Isa::avx2) {
    PeakKernels peak = isa_avx2::peak_kernels();
    if (isa == Isa::avxvnni) peak.int8 = isa_avxvnni::int8_peak();
    return peak;
  }
#endif
  PAGODA_CHECK(isa == Isa::scalar, "this build has no {} kernels", to_string(isa));
  return isa_scalar::peak_kernels();
}

PeakLoop bf16_peak_for([[maybe_unused]] Isa isa) {
#ifdef PAGODA_X86_KERNELS
  if (isa >= Isa::avx512_bf16) return isa_avx512_bf16::bf16_peak();
#endif
  return {};
}

// Calls body(item) for all items on all threads, several times; amount per second of the fastest run.
template <class Body>
double best_rate(ThreadPool& pool, size_t num_items, double amount, Body&& body) {
  const SteadyClock clock;
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const int64_t start_ns = clock.now_ns();
    pool.parallel_for(num_items, 1, [&](size_t begin, size_t end, int) {
      for (size_t item = begin; item < end; ++item) body(item);
    });
    best = std::max(best, amount / (static_cast<double>(clock.now_ns() - start_ns) * 1e-9));
  }
  return best;
}

}  // namespace

Result<MachineLimits> measure_machine_limits(Isa isa, ThreadPool& pool, uint64_t max_buffer_bytes) {
  const PeakKernels peak = peak_kernels_for(isa);
  std::atomic<uint64_t> sink{0};  // so that no loop is without a result
  MachineLimits limits;

  const size_t wanted = std::min<uint64_t>(kReadBytes, max_buffer_bytes / 2);
  const size_t num_pieces = std::max<size_t>(1, wanted / kReadPieceBytes);
  PAGODA_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(num_pieces * kReadPieceBytes));
  pool.parallel_for(num_pieces, 1, [&](size_t begin, size_t end, int) {
    std::memset(buffer.data() + begin * kReadPieceBytes, 1, (end - begin) * kReadPieceBytes);
  });
  limits.read_bytes_per_second =
      best_rate(pool, num_pieces, static_cast<double>(buffer.size()), [&](size_t piece) {
        sink.fetch_xor(peak.read(buffer.data() + piece * kReadPieceBytes, kReadPieceBytes),
                       std::memory_order_relaxed);
      });

  const auto num_items = static_cast<size_t>(kItemsPerThread * pool.num_threads());
  const auto measure = [&](const PeakLoop& loop, int64_t ops_per_item) {
    const int64_t rounds = ops_per_item / loop.ops_per_round;
    const double ops = static_cast<double>(rounds * loop.ops_per_round) * static_cast<double>(num_items);
    return best_rate(pool, num_items, ops,
                     [&](size_t) { sink.fetch_xor(loop.run(rounds), std::memory_order_relaxed); });
  };
  // Scalar code is some fifty times slower.
  const int64_t divisor = isa == Isa::scalar ? 32 : 1;
  limits.int8_ops_per_second = measure(peak.int8, kOpsPerItem / divisor);
  const PeakLoop bf16 = bf16_peak_for(isa);
  if (bf16.run != nullptr) limits.bf16_ops_per_second = measure(bf16, kOpsPerItem / 2);
  limits.f32_ops_per_second = measure(peak.f32, kOpsPerItem / divisor / 4);
  return limits;
}

}  // namespace pagoda
