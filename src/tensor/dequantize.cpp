#include "tensor/dequantize.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "tensor/half.h"
#include "tensor/load_bytes.h"

namespace pagoda {

namespace {

constexpr std::array<int8_t, 16> kIq4NlTable = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                1,    13,   25,  38,  53,  69,  89,  113};

float load_f16(const uint8_t* bytes) {
  return f16_to_f32(load_u16(bytes));
}

int nibble(const uint8_t* qs, int i) {
  return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

void block_q4_0(const uint8_t* b, float* out) {
  const float d = load_f16(b);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(nibble(b + 2, i) - 8);
}
void block_q4_1(const uint8_t* b, float* out) {
  const float d = load_f16(b);
  const float m = load_f16(b + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(nibble(b + 4, i)) + m;
}
void block_q5_0(const uint8_t* b, float* out) {
  const float d = load_f16(b);
  const uint32_t high = load_u32(b + 2);
  for (int i = 0; i < 32; ++i)
    out[i] = d * static_cast<float>((nibble(b + 6, i) | static_cast<int>((high >> i) & 1) << 4) - 16);
}
void block_q5_1(const uint8_t* b, float* out) {
  const float d = load_f16(b);
  const float m = load_f16(b + 2);
  const uint32_t high = load_u32(b + 4);
  for (int i = 0; i < 32; ++i)
    out[i] = d * static_cast<float>(nibble(b + 8, i) | static_cast<int>((high >> i) & 1) << 4) + m;
}
void block_q8_0(const uint8_t* b, float* out) {
  const float d = load_f16(b);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}
void block_iq4_nl(const uint8_t* b, float* out) {
  const float d = load_f16(b);
  for (int i = 0; i < 32; ++i)
    out[i] = d * static_cast<float>(kIq4NlTable[static_cast<size_t>(nibble(b + 2, i))]);
}

// Two-bit fields of q2_K, q3_K and q6_K: 128 elements share 32 bytes, shift 0, 2, 4, 6 for each run of 32.
int two_bits(const uint8_t* bytes, int i) {
  return bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

void block_q2_k(const uint8_t* b, float* out) {
  const uint8_t* scales = b;
  const uint8_t* qs = b + 16;
  const float d = load_f16(b + 80);
  const float dmin = load_f16(b + 82);
  for (int i = 0; i < 256; ++i) {
    const uint8_t scale = scales[i / 16];
    out[i] = d * static_cast<float>((scale & 15) * two_bits(qs, i)) - dmin * static_cast<float>(scale >> 4);
  }
}

// q3_K packs sixteen 6-bit scales in 12 bytes: low 4 bits in bytes 0..7, high 2 bits in bytes 8..11.
int q3_k_scale(const uint8_t* scales, int j) {
  const int low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
  const int high = scales[8 + j % 4] >> (j / 4 * 2) & 3;
  return (low | high << 4) - 32;
}
void block_q3_k(const uint8_t* b, float* out) {
  const uint8_t* hmask = b;
  const uint8_t* qs = b + 32;
  const uint8_t* scales = b + 96;
  const float d = load_f16(b + 108);
  for (int i = 0; i < 256; ++i) {
    const int high = hmask[i % 32] >> (i / 32) & 1;
    const int q = two_bits(qs, i) + 4 * high - 4;
    out[i] = d * static_cast<float>(q3_k_scale(scales, i / 16) * q);
  }
}

// q4_K and q5_K pack eight 6-bit scales and mins in 12 bytes.
struct ScaleMin {
  int scale;
  int min;
};
ScaleMin k4_scale_min(const uint8_t* b, int j) {
  if (j < 4) return {b[j] & 63, b[j + 4] & 63};
  return {(b[j + 4] & 15) | (b[j - 4] >> 6) << 4, (b[j + 4] >> 4) | (b[j] >> 6) << 4};
}
// 64 elements share 32 bytes: low nibbles first, then high.
int k4_nibble(const uint8_t* qs, int i) {
  const uint8_t byte = qs[i / 64 * 32 + i % 32];
  return i % 64 < 32 ? byte & 15 : byte >> 4;
}
void block_q4_k(const uint8_t* b, float* out) {
  const float d = load_f16(b);
  const float dmin = load_f16(b + 2);
  for (int i = 0; i < 256; ++i) {
    const auto [scale, min] = k4_scale_min(b + 4, i / 32);
    out[i] = d * static_cast<float>(scale * k4_nibble(b + 16, i)) - dmin * static_cast<float>(min);
  }
}
void block_q5_k(const uint8_t* b, float* out) {
  const float d = load_f16(b);
  const float dmin = load_f16(b + 2);
  const uint8_t* qh = b + 16;
  const uint8_t* qs = b + 48;
  for (int i = 0; i < 256; ++i) {
    const auto [scale, min] = k4_scale_min(b + 4, i / 32);
    const int high = qh[i % 32] >> (i / 32) & 1;
    out[i] = d * static_cast<float>(scale * (k4_nibble(qs, i) | high << 4)) - dmin * static_cast<float>(min);
  }
}
void block_q6_k(const uint8_t* b, float* out) {
  const uint8_t* ql = b;
  const uint8_t* qh = b + 128;
  const auto* scales = reinterpret_cast<const int8_t*>(b + 192);
  const float d = load_f16(b + 208);
  for (int i = 0; i < 256; ++i) {
    const uint8_t byte = ql[i / 128 * 64 + i % 64];
    const int low = i % 128 < 64 ? byte & 15 : byte >> 4;
    const int q = (low | two_bits(qh, i) << 4) - 32;
    const int sub_block = i / 16;
    out[i] = d * static_cast<float>(scales[sub_block] * q);
  }
}

using BlockFunction = void (*)(const uint8_t* block, float* out);
BlockFunction block_function(DType dtype) {
  switch (dtype) {
    case DType::q4_0:
      return block_q4_0;
    case DType::q4_1:
      return block_q4_1;
    case DType::q5_0:
      return block_q5_0;
    case DType::q5_1:
      return block_q5_1;
    case DType::q8_0:
      return block_q8_0;
    case DType::q2_k:
      return block_q2_k;
    case DType::q3_k:
      return block_q3_k;
    case DType::q4_k:
      return block_q4_k;
    case DType::q5_k:
      return block_q5_k;
    case DType::q6_k:
      return block_q6_k;
    case DType::iq4_nl:
      return block_iq4_nl;
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      break;
  }
  return nullptr;
}

}  // namespace

void dequantize_row(DType dtype, std::span<const std::byte> row, std::span<float> out) {
  PAGODA_CHECK(row.size() == row_bytes(dtype, out.size()), "{} bytes for {} elements of {}", row.size(),
               out.size(), to_string(dtype));
  const auto* bytes = reinterpret_cast<const uint8_t*>(row.data());
  if (dtype == DType::f32) {
    std::memcpy(out.data(), bytes, row.size());
  } else if (dtype == DType::f16) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = load_f16(bytes + 2 * i);
  } else if (dtype == DType::bf16) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = bf16_to_f32(load_u16(bytes + 2 * i));
  } else {
    const DTypeInfo& type = info(dtype);
    const BlockFunction block = block_function(dtype);
    for (size_t i = 0; i < out.size(); i += type.block_len, bytes += type.block_bytes)
      block(bytes, out.data() + i);
  }
}

}  // namespace pagoda
