#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "cli/kernel_bench.h"

namespace pagoda {

namespace {

// A matrix of a middling model: 2048 x 2048, a few MB.
constexpr int64_t kCols = 2048;
constexpr int64_t kRows = 2048;
constexpr int64_t kDistinctGroups = 8;  // the working set repeats them
constexpr int kRounds = 5;

class Random {
 public:
  uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  float unit() { return static_cast<float>(next() >> 8) * 0x1p-23f - 1; }  // [-1, 1)

 private:
  uint64_t state_ = 1;
};

void store_u16(std::byte* to, uint16_t value) {
  std::memcpy(to, &value, sizeof value);
}

// Where the f16 scales of a stored block lie.
struct ScalePlaces {
  int count = 0;
  size_t at[2] = {};
};
ScalePlaces scale_places(DType format) {
  switch (format) {
    case DType::q4_1:
    case DType::q5_1:
    case DType::q4_k:
    case DType::q5_k:
      return {2, {0, 2}};
    case DType::q2_k:
      return {2, {80, 82}};
    case DType::q3_k:
      return {1, {108, 0}};
    case DType::q6_k:
      return {1, {208, 0}};
    default:
      return {1, {0, 0}};
  }
}

// One stored row: any bits are quants, but scales must be ordinary numbers.
void fill_row(Random& random, DType format, std::span<std::byte> row) {
  if (format == DType::f32) {
    for (size_t i = 0; i < row.size(); i += sizeof(float)) {
      const float value = random.unit();
      std::memcpy(row.data() + i, &value, sizeof value);
    }
    return;
  }
  for (std::byte& byte : row) byte = static_cast<std::byte>(random.next());
  // 0x3c00 is 1 as f16, 0x3f80 as bf16: sign and fraction stay random, numbers are in ±[1, 2).
  if (is_float(format)) {
    const auto [keep, one] = format == DType::f16 ? std::pair(0x83ff, 0x3c00) : std::pair(0x807f, 0x3f80);
    for (size_t i = 0; i < row.size(); i += 2) {
      uint16_t value = 0;
      std::memcpy(&value, row.data() + i, sizeof value);
      store_u16(row.data() + i, static_cast<uint16_t>((value & keep) | one));
    }
    return;
  }
  const ScalePlaces places = scale_places(format);
  for (size_t block = 0; block < row.size(); block += info(format).block_bytes)
    for (int i = 0; i < places.count; ++i)
      store_u16(row.data() + block + places.at[i], static_cast<uint16_t>(0x1c00 | (random.next() & 0x3ff)));
}

class Matrices {
 public:
  Matrices(const KernelBench& bench, const LinearFormat& format)
      : bench_(bench),
        format_(format),
        group_rows_(rows_per_group(format.packing)),
        group_bytes_(packed_group_bytes(format.weights, format.packing, kCols)),
        num_matrices_(std::max<int64_t>(
            1, static_cast<int64_t>(bench.working_set.size() / group_bytes_) / num_groups())) {
    pack();
    make_activations();
    out_ = bench.scratch.take<float>(static_cast<size_t>(kBenchRows.back() * kRows));
  }

  int64_t num_groups() const { return kRows / group_rows_; }

  // Multiplies the next matrix, or its first groups, with some rows of activations; returns the groups.
  int64_t run(int64_t rows, int64_t num_groups) {
    LinearArgs args;
    args.weight = {format_.weights,
                   num_groups * group_rows_,
                   kCols,
                   bench_.working_set.data() + static_cast<size_t>(next_ * this->num_groups()) * group_bytes_,
                   format_.activations,
                   format_.packing};
    args.activations = activations_.data();
    args.num_tokens = rows;
    args.out = out_.data();
    args.out_stride = kRows;
    args.prefetch = bench_.kernels.prefetch;
    next_ = (next_ + 1) % num_matrices_;
    bench_.pool.parallel_for(
        static_cast<size_t>(num_groups), rows == 1 ? 2 : 1, [&](size_t begin, size_t end, int) {
          bench_.kernels.linear.linear(args, static_cast<int64_t>(begin), static_cast<int64_t>(end));
        });
    return num_groups;
  }

  Work work_of_group(int64_t rows) const {
    Work work;
    work.bytes = static_cast<double>(group_bytes_);
    work.add_linear(activation_format(), static_cast<double>(group_rows_ * kCols * rows));
    return work;
  }

 private:
  void pack() {
    Random random;
    const size_t stored_bytes = row_bytes(format_.weights, kCols);
    std::vector<std::byte> stored(stored_bytes * static_cast<size_t>(group_rows_));
    std::vector<std::byte> packed(group_bytes_ * kDistinctGroups);
    std::vector<const std::byte*> rows(static_cast<size_t>(group_rows_));
    for (size_t group = 0; group < kDistinctGroups; ++group) {
      for (size_t row = 0; row < rows.size(); ++row) {
        const auto bytes = std::span(stored).subspan(row * stored_bytes, stored_bytes);
        fill_row(random, format_.weights, bytes);
        rows[row] = bytes.data();
      }
      std::byte* out = packed.data() + group * group_bytes_;
      PAGODA_CHECK(pack_group(bench_.kernels.linear, format_.weights, format_.packing, rows, kCols, out),
                   "the numbers have few exponents");
    }
    const size_t num_copies = bench_.working_set.size() / packed.size();
    bench_.pool.parallel_for(num_copies, 1, [&](size_t begin, size_t end, int) {
      for (size_t copy = begin; copy < end; ++copy)
        std::memcpy(bench_.working_set.data() + copy * packed.size(), packed.data(), packed.size());
    });
  }

  void make_activations() {
    Random random;
    const ActivationFormat format = activation_format();
    const size_t bytes = activation_row_bytes(format, kCols);
    activations_ = bench_.scratch.take<std::byte>(bytes * static_cast<size_t>(kBenchRows.back()));
    std::vector<float> row(kCols);
    for (size_t i = 0; i < static_cast<size_t>(kBenchRows.back()); ++i) {
      for (float& value : row) value = random.unit();
      bench_.kernels.linear.quantize(format, row.data(), kCols, activations_.data() + i * bytes);
    }
  }

  ActivationFormat activation_format() const {
    return PackedWeight{format_.weights, 0, kCols, nullptr, format_.activations}.activation_format();
  }

  const KernelBench& bench_;
  LinearFormat format_;
  int64_t group_rows_;
  size_t group_bytes_;
  int64_t num_matrices_;
  int64_t next_ = 0;
  std::span<std::byte> activations_;
  std::span<float> out_;
};

}  // namespace

std::string_view to_string(const LinearFormat& format) {
  const bool has_bf16_activations = format.activations == FloatActivations::bf16;
  if (format.packing == Packing::palette) return has_bf16_activations ? "palette_bf16" : "palette";
  return has_bf16_activations ? "bf16_bf16" : to_string(format.weights);
}

std::vector<LinearFigures> measure_linear(const KernelBench& bench, const LinearFormat& format,
                                          double seconds) {
  const int64_t start_ns = bench.clock.now_ns();
  bench.scratch.reset();
  Matrices matrices(bench, format);
  matrices.run(1, matrices.num_groups());
  const double prepared = static_cast<double>(bench.clock.now_ns() - start_ns) * 1e-9;
  const double sample = std::max(1e-3, (seconds - prepared) / (kRounds * kBenchRows.size()));

  std::vector<std::vector<double>> times(kBenchRows.size());
  std::vector<std::vector<double>> costs(kBenchRows.size());
  for (int round = 0; round < kRounds; ++round) {
    double row_seconds = 0;  // one row of activations in one group, at the number of rows before
    for (size_t i = 0; i < kBenchRows.size(); ++i) {
      const int64_t rows = kBenchRows[i];
      // Whole matrices, but less where even one would take longer than the sample.
      const double group_seconds = row_seconds * static_cast<double>(rows);
      const double fitting =
          group_seconds > 0 ? sample / group_seconds : static_cast<double>(matrices.num_groups());
      const int64_t num_groups =
          std::clamp(static_cast<int64_t>(std::min(fitting, static_cast<double>(matrices.num_groups()))),
                     int64_t{2} * bench.pool.num_threads(), matrices.num_groups());
      const double time =
          seconds_per_item(bench.clock, sample, [&] { return matrices.run(rows, num_groups); });
      times[i].push_back(time);
      costs[i].push_back(time / times[0].back());
      row_seconds = time / static_cast<double>(rows);
    }
  }
  std::vector<LinearFigures> figures;
  figures.reserve(kBenchRows.size());
  for (size_t i = 0; i < kBenchRows.size(); ++i)
    figures.push_back({kBenchRows[i], spread_of(std::move(times[i])), spread_of(std::move(costs[i])),
                       matrices.work_of_group(kBenchRows[i])});
  return figures;
}

}  // namespace pagoda
