// Random matrices in every stored format, and a linear layer run on them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "base/check.h"
#include "base/cpu_info.h"
#include "kernels/kernels.h"
#include "tensor/dequantize.h"
#include "tensor/dtype.h"
#include "tensor/half.h"

namespace pagoda {

inline constexpr std::array<DType, 14> kAllDTypes = {
    DType::f32,  DType::f16,  DType::bf16, DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1,
    DType::q8_0, DType::q2_k, DType::q3_k, DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl};

// Where the f16 scales of a stored block are, -1: none.
struct ScaleOffsets {
  int d = 0;
  int min = -1;
};
inline ScaleOffsets scale_offsets(DType dtype) {
  switch (dtype) {
    case DType::q4_1:
    case DType::q5_1:
    case DType::q4_k:
    case DType::q5_k:
      return {0, 2};
    case DType::q2_k:
      return {80, 82};
    case DType::q3_k:
      return {108, -1};
    case DType::q6_k:
      return {208, -1};
    default:
      return {0, -1};
  }
}

// How the bits of stored weights are drawn.
enum class Bits {
  random,          // any quants, moderate scales
  power_of_two,    // any quants, scales are powers of two: products are exact
  all_ones,        // every quant and sub-block scale has all its bits set, the largest scales
  all_zeros,       // every bit 0, the largest scales
  minimum_bytes,   // every byte 0x80, the largest scales
  many_exponents,  // bf16: 31 exponents and zeros
};

class StoredMatrix {
 public:
  StoredMatrix(DType dtype, int64_t rows, int64_t cols, Bits bits, uint32_t seed)
      : dtype_(dtype),
        rows_(rows),
        cols_(cols),
        row_bytes_(row_bytes(dtype, static_cast<size_t>(cols))),
        bytes_(static_cast<size_t>(rows) * row_bytes_),
        random_(seed) {
    if (is_float(dtype))
      fill_plain(bits);
    else
      fill_blocks(bits);
  }

  DType dtype() const { return dtype_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  const std::byte* row(int64_t r) const { return bytes_.data() + static_cast<size_t>(r) * row_bytes_; }
  std::vector<float> dequantised(int64_t r) const {
    std::vector<float> values(static_cast<size_t>(cols_));
    dequantize_row(dtype_, {row(r), row_bytes_}, values);
    return values;
  }

 private:
  void fill_plain(Bits bits) {
    if (bits == Bits::many_exponents) return fill_many_exponents();
    std::uniform_real_distribution<float> uniform(-2.0f, 2.0f);
    const size_t size = info(dtype_).block_bytes;
    for (size_t i = 0; i < bytes_.size(); i += size) {
      const float value = bits == Bits::all_zeros ? 0.0f : uniform(random_);
      const uint16_t half = dtype_ == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
      if (dtype_ == DType::f32)
        std::memcpy(&bytes_[i], &value, 4);
      else
        std::memcpy(&bytes_[i], &half, 2);
    }
  }
  // As many as palettes hold, and one in 2000 of others.
  void fill_many_exponents() {
    for (size_t i = 0; i < bytes_.size(); i += 2) {
      const uint32_t random = random_();
      const uint32_t exponent = random_() % 2000 == 0 ? 97 + random % 100 : 97 + random % 15;
      const auto value = static_cast<uint16_t>(random >> 31 << 15 | exponent << 7 | (random >> 20 & 0x7f));
      if (random >> 16 & 15) std::memcpy(&bytes_[i], &value, 2);
    }
  }
  void fill_blocks(Bits bits) {
    for (std::byte& byte : bytes_) byte = fill_byte(bits);
    const ScaleOffsets at = scale_offsets(dtype_);
    for (size_t i = 0; i < bytes_.size(); i += info(dtype_).block_bytes) {
      put_scale(i + static_cast<size_t>(at.d), bits);
      if (at.min >= 0) put_scale(i + static_cast<size_t>(at.min), bits);
    }
  }
  std::byte fill_byte(Bits bits) {
    if (bits == Bits::all_ones) return std::byte{0xff};
    if (bits == Bits::all_zeros) return std::byte{0};
    if (bits == Bits::minimum_bytes) return std::byte{0x80};
    return static_cast<std::byte>(random_());
  }
  void put_scale(size_t offset, Bits bits) {
    float scale = 65504.0f;
    if (bits == Bits::random) scale = std::uniform_real_distribution<float>(-0.02f, 0.02f)(random_);
    if (bits == Bits::power_of_two)
      scale = std::ldexp(random_() % 2 ? 1.0f : -1.0f, -static_cast<int>(random_() % 4));
    const uint16_t half = f32_to_f16(scale);
    std::memcpy(&bytes_[offset], &half, 2);
  }

  DType dtype_;
  int64_t rows_;
  int64_t cols_;
  size_t row_bytes_;
  std::vector<std::byte> bytes_;
  std::mt19937 random_;
};

// Aligned to 64 bytes and not a byte longer than asked for, so that AddressSanitizer sees reads past the end.
class ExactBuffer {
 public:
  explicit ExactBuffer(size_t size) : bytes_(new(std::align_val_t{64}) std::byte[size]) {
    std::memset(bytes_.get(), 0xcc, size);
  }
  std::byte* data() const { return bytes_.get(); }

 private:
  struct Deleter {
    void operator()(std::byte* bytes) const { ::operator delete[](bytes, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte[], Deleter> bytes_;
};

// Owns the packed form.
class PackedMatrix {
 public:
  explicit PackedMatrix(const StoredMatrix& stored, FloatActivations activations = FloatActivations::f32,
                        Packing packing = Packing::plain)
      : weight_{stored.dtype(), stored.rows(), stored.cols(), nullptr, activations, packing},
        buffer_(weight_.group_bytes() * static_cast<size_t>(weight_.num_groups())),
        details_(weight_.details_bytes() * static_cast<size_t>(weight_.num_groups())) {
    for (int64_t g = 0; g < weight_.num_groups(); ++g) {
      const int64_t group_rows = weight_.rows_per_group();
      std::vector<const std::byte*> rows(static_cast<size_t>(group_rows));
      for (int64_t i = 0; i < group_rows && g * group_rows + i < stored.rows(); ++i)
        rows[static_cast<size_t>(i)] = stored.row(g * group_rows + i);
      PAGODA_CHECK(pack_group(kernels_for(Isa::scalar).linear, stored.dtype(), packing, rows, stored.cols(),
                              buffer_.data() + static_cast<size_t>(g) * weight_.group_bytes(),
                              details_.data() + static_cast<size_t>(g) * weight_.details_bytes()),
                   "more exponents than tests have");
    }
    weight_.data = buffer_.data();
    if (packing == Packing::outline) weight_.details = details_.data();
  }
  const PackedWeight& weight() const { return weight_; }

 private:
  PackedWeight weight_;
  ExactBuffer buffer_;
  ExactBuffer details_;
};

// Rows of activations quantised for a weight format.
class Activations {
 public:
  Activations(Isa isa, ActivationFormat format, const std::vector<float>& x, int64_t cols)
      : num_tokens_(static_cast<int64_t>(x.size()) / cols),
        row_bytes_(activation_row_bytes(format, cols)),
        buffer_(row_bytes_ * static_cast<size_t>(num_tokens_)) {
    for (int64_t t = 0; t < num_tokens_; ++t)
      kernels_for(isa).linear.quantize(format, x.data() + t * cols, cols,
                                       buffer_.data() + static_cast<size_t>(t) * row_bytes_);
  }
  const std::byte* data() const { return buffer_.data(); }
  std::vector<std::byte> bytes() const {
    return {buffer_.data(), buffer_.data() + row_bytes_ * static_cast<size_t>(num_tokens_)};
  }

 private:
  int64_t num_tokens_;
  size_t row_bytes_;
  ExactBuffer buffer_;
};

inline std::vector<float> random_floats(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

// All outputs of a layer, [num_tokens][rows], computed in calls of `groups_per_call` groups.
struct LinearRun {
  Isa isa = Isa::scalar;
  int64_t num_tokens = 1;
  int64_t groups_per_call = 1 << 20;
  const float* bias = nullptr;
  Store store = Store::overwrite;
  float initial = -1.0f;
  Prefetch prefetch = {};

  // Elements past each row of the output must stay as they were: they are returned, too.
  std::vector<float> operator()(const PackedWeight& weight, const std::byte* activations) const {
    constexpr int64_t kSlack = 5;
    const int64_t stride = weight.num_rows + kSlack;
    std::vector<float> out(static_cast<size_t>(num_tokens * stride), initial);
    const LinearArgs args = {weight, activations, num_tokens, bias, out.data(), stride, store, prefetch};
    for (int64_t g = 0; g < weight.num_groups(); g += groups_per_call)
      kernels_for(isa).linear.linear(args, g, std::min(weight.num_groups(), g + groups_per_call));
    return out;
  }
};

// Floats compared by their bits; EXPECT_EQ of the result shows which differ.
inline std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

inline std::vector<Isa> vector_isas() {
  std::vector<Isa> isas = available_isas(detect_cpu());
  isas.erase(isas.begin());
  return isas;
}

}  // namespace pagoda
