// The definition of linear layers: plain C++, one output at a time, written for reading.
#include "kernels/isa/flush_subnormals.h"
#include "kernels/isa/linear_driver.h"
#include "kernels/isa/tables.h"
#include "tensor/half.h"

namespace pagoda::isa_scalar {

namespace {

constexpr int kRows = 16;

float load_f16(const uint8_t* table, int row) {
  uint16_t bits;
  __builtin_memcpy(&bits, table + 2 * row, sizeof bits);
  return f16_to_f32(bits);
}

// Unsigned quant i of 32 k of a row; see linear_layout.h.
int unpack(int bits, const uint8_t* quants, int row, int i) {
  const int o = i / 4;
  const auto v = [=](int vector) -> int { return quants[64 * vector + 4 * row + i % 4]; };
  if (bits == 4) return v(o / 2) >> (o % 2 * 4) & 15;
  if (bits == 5) {
    if (o < 5) return v(o) & 31;
    if (o == 5) return v(0) >> 5 | (v(1) >> 6) << 3;
    if (o == 6) return v(2) >> 5 | (v(3) >> 6) << 3;
    return v(4) >> 5 | (v(1) >> 5 & 1) << 3 | (v(3) >> 5 & 1) << 4;
  }
  if (bits == 6) {
    const int first = o / 4 * 3;
    if (o % 4 < 3) return v(first + o % 4) & 63;
    return v(first) >> 6 | (v(first + 1) >> 6) << 2 | (v(first + 2) >> 6) << 4;
  }
  return v(o);
}

// One row of one packed block.
struct RowBlock {
  int quants[256];  // signed
  int scales[16];
  int mins[16];
  float d;
  float dmin;
};

void read_row(const PackedFormat& format, const uint8_t* block, int row, RowBlock& out) {
  const BlockLayout at = block_layout(format);
  for (int i = 0; i < format.block_length; ++i)
    out.quants[i] = (unpack(format.bits, block + at.quants + i / 32 * 64 * format.bits, row, i % 32)
                         << format.detail_bits |
                     format.middle()) -
                    format.zero_point;
  out.d = load_f16(block + at.d, row);
  out.dmin = format.has_min ? load_f16(block + at.dmin, row) : 0.0f;
  if (format.block_length != 256) return;
  for (int j = 0; j < 256 / format.sub_length; ++j) {
    out.scales[j] = static_cast<int8_t>(block[at.scales + j * 16 + row]);
    if (!format.has_min) continue;
    out.mins[j] = format.sub_length == 32 ? block[at.mins + j / 2 * 32 + row * 2 + j % 2]
                                          : block[at.mins + j * 16 + row];
  }
}

int dot(const int* q, const int8_t* a, int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += q[i] * a[i];
  return sum;
}
int sum_of(const int8_t* a, int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += a[i];
  return sum;
}

float add_block32(const PackedFormat& format, const RowBlock& w, const Activation32& a, float acc) {
  acc = __builtin_fmaf(static_cast<float>(dot(w.quants, a.q, 32)), w.d * a.scale, acc);
  if (format.has_min) acc = __builtin_fmaf(a.scale * static_cast<float>(sum_of(a.q, 32)), w.dmin, acc);
  return acc;
}

float add_block256(const PackedFormat& format, const RowBlock& w, const Activation256& a, float acc) {
  const int n = format.sub_length;
  int scaled = 0;
  int offset = 0;
  for (int j = 0; j < 256 / n; ++j) {
    const int8_t* q = a.runs[j * n / 32].q + j * n % 32;
    scaled += w.scales[j] * dot(w.quants + j * n, q, n);
    if (format.has_min) offset += w.mins[j] * sum_of(q, n);
  }
  acc = __builtin_fmaf(static_cast<float>(scaled), w.d * a.scale, acc);
  if (format.has_min) acc = __builtin_fmaf(-static_cast<float>(offset), w.dmin * a.scale, acc);
  return acc;
}

// acc[t] of tokens [0, num_tokens), whose activations start at `activations`, `stride` bytes apart.
void quantised_row(const PackedFormat& format, const uint8_t* group, int row, int64_t num_cols,
                   const std::byte* activations, int64_t stride, int64_t num_tokens, float* acc) {
  const BlockLayout at = block_layout(format);
  RowBlock w;
  for (int64_t b = 0; b < num_cols / format.block_length; ++b) {
    read_row(format, group + b * at.bytes, row, w);
    for (int64_t t = 0; t < num_tokens; ++t) {
      const std::byte* x = activations + t * stride;
      acc[t] = format.block_length == 256
                   ? add_block256(format, w, reinterpret_cast<const Activation256*>(x)[b], acc[t])
                   : add_block32(format, w, reinterpret_cast<const Activation32*>(x)[b], acc[t]);
    }
  }
}

float plain_weight(const PackedWeight& w, const uint8_t* group, int64_t k, int row) {
  if (w.dtype == DType::bf16) return bf16_to_f32(packed_bf16(w.packing, group, w.num_cols, k, row));
  if (w.dtype == DType::f32) {
    float value;
    __builtin_memcpy(&value, group + 4 * (k * kRows + row), sizeof value);
    return value;
  }
  return load_f16(group + 2 * k * kRows, row);
}

void plain_row(const PackedWeight& w, const uint8_t* group, int row, const std::byte* activations,
               int64_t stride, int64_t num_tokens, float* acc) {
  const int64_t end = w.dtype == DType::bf16 ? w.num_cols + w.num_cols % 2 : w.num_cols;
  for (int64_t k = 0; k < end; ++k) {
    const float value = plain_weight(w, group, k, row);
    for (int64_t t = 0; t < num_tokens; ++t)
      acc[t] = __builtin_fmaf(value, reinterpret_cast<const float*>(activations + t * stride)[k], acc[t]);
  }
}

void bf16_row(const PackedWeight& w, const uint8_t* group, int row, const std::byte* activations,
              int64_t stride, int64_t num_tokens, float* acc) {
  for (int64_t k = 0; k < w.num_cols; k += 2) {
    const float even = plain_weight(w, group, k, row);
    const float odd = plain_weight(w, group, k + 1, row);
    for (int64_t t = 0; t < num_tokens; ++t) {
      uint16_t x[2];
      __builtin_memcpy(x, activations + t * stride + 2 * k, sizeof x);
      acc[t] = __builtin_fmaf(even, bf16_to_f32(x[0]), __builtin_fmaf(odd, bf16_to_f32(x[1]), acc[t]));
    }
  }
}

// The outputs of one row for a few tokens.
void linear_row(const LinearArgs& args, int64_t row, int64_t token_begin, int64_t num_tokens, float* acc) {
  const PackedWeight& w = args.weight;
  const auto stride = static_cast<int64_t>(activation_row_bytes(w.activation_format(), w.num_cols));
  const auto* group = reinterpret_cast<const uint8_t*>(w.data) +
                      static_cast<size_t>(row / w.rows_per_group()) * w.group_bytes();
  const std::byte* activations = args.activations + token_begin * stride;
  const int lane = static_cast<int>(row % w.rows_per_group());
  if (w.activation_format() == ActivationFormat::bf16)
    bf16_row(w, group, lane, activations, stride, num_tokens, acc);
  else if (is_float(w.dtype))
    plain_row(w, group, lane, activations, stride, num_tokens, acc);
  else
    quantised_row(w.packing == Packing::outline ? outline_format(w.dtype) : packed_format(w.dtype), group,
                  lane, w.num_cols, activations, stride, num_tokens, acc);
}

void compute_groups(const LinearArgs& args, int64_t group_begin, int64_t group_end) {
  constexpr int64_t kTokens = 16;
  const int64_t rows = args.weight.rows_per_group();
  const int64_t row_end = group_end * rows < args.weight.num_rows ? group_end * rows : args.weight.num_rows;
  for (int64_t row = group_begin * rows; row < row_end; ++row) {
    for (int64_t t = 0; t < args.num_tokens; t += kTokens) {
      const int64_t n = args.num_tokens - t < kTokens ? args.num_tokens - t : kTokens;
      float acc[kTokens] = {};
      linear_row(args, row, t, n, acc);
      for (int64_t i = 0; i < n; ++i) {
        float* out = args.out + (t + i) * args.out_stride + row;
        const float y = args.bias != nullptr ? acc[i] + args.bias[row] : acc[i];
        *out = args.store == Store::add ? *out + y : y;
      }
    }
  }
}

void linear(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  if (args.weight.packing == Packing::outline)
    return run_joined(
        args, group_begin, group_end, join_outline,
        [](const LinearArgs& part, int64_t num_groups) { compute_groups(part, 0, num_groups); });
  if (args.weight.activation_format() != ActivationFormat::bf16)
    return compute_groups(args, group_begin, group_end);
  const FlushSubnormals flush;
  compute_groups(args, group_begin, group_end);
}

void outline(const LinearArgs& args, int64_t group_begin, int64_t group_end) noexcept {
  compute_groups(args, group_begin, group_end);
}

}  // namespace

LinearKernels linear_kernels() {
  return {quantize, linear, outline, pack_blocks, pack_outline, join_outline};
}

}  // namespace pagoda::isa_scalar
