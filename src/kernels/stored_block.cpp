#include "kernels/stored_block.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "tensor/load_bytes.h"

namespace pagoda {

namespace {

// The table of iq4_nl plus 128, the zero point of 8-bit packed quants.
constexpr std::array<uint8_t, 16> kIq4NlBiased = {1,   24,  45,  63,  79,  93,  106, 118,
                                                  129, 141, 153, 166, 181, 197, 217, 241};

// 32 quants of blocks of 32: low nibbles, then high nibbles.
void read_nibbles(const uint8_t* qs, uint8_t* quants) {
  for (int i = 0; i < 16; ++i) {
    quants[i] = qs[i] & 15;
    quants[16 + i] = static_cast<uint8_t>(qs[i] >> 4);
  }
}
void add_fifth_bits(uint32_t high, uint8_t* quants) {
  for (int i = 0; i < 32; ++i) quants[i] |= static_cast<uint8_t>(((high >> i) & 1) << 4);
}

void read_q4(const uint8_t* b, int has_min, StoredBlock& out) {
  out.d = load_u16(b);
  if (has_min) out.dmin = load_u16(b + 2);
  read_nibbles(b + 2 + 2 * has_min, out.quants);
}
void read_q5(const uint8_t* b, int has_min, StoredBlock& out) {
  out.d = load_u16(b);
  if (has_min) out.dmin = load_u16(b + 2);
  read_nibbles(b + 6 + 2 * has_min, out.quants);
  add_fifth_bits(load_u32(b + 2 + 2 * has_min), out.quants);
}
void read_q8_0(const uint8_t* b, StoredBlock& out) {
  out.d = load_u16(b);
  for (int i = 0; i < 32; ++i) out.quants[i] = b[2 + i] ^ 0x80;
}
void read_iq4_nl(const uint8_t* b, StoredBlock& out) {
  out.d = load_u16(b);
  read_nibbles(b + 2, out.quants);
  for (int i = 0; i < 32; ++i) out.quants[i] = kIq4NlBiased[out.quants[i]];
}

// 128 elements share 32 bytes, shift 0, 2, 4, 6 for each run of 32.
void read_two_bits(const uint8_t* bytes, uint8_t* quants) {
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i) quants[run * 32 + i] = bytes[run / 4 * 32 + i] >> (run % 4 * 2) & 3;
}

void read_q2_k(const uint8_t* b, StoredBlock& out) {
  for (int j = 0; j < 16; ++j) {
    out.scales[j] = static_cast<int8_t>(b[j] & 15);
    out.mins[j] = static_cast<uint8_t>(b[j] >> 4);
  }
  read_two_bits(b + 16, out.quants);
  out.d = load_u16(b + 80);
  out.dmin = load_u16(b + 82);
}

// True quants are two bits plus 4 times the high bit, minus 4; the zero point of 6-bit packed quants is 32.
void read_q3_k(const uint8_t* b, StoredBlock& out) {
  const uint8_t* scales = b + 96;
  for (int j = 0; j < 16; ++j) {
    const int low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
    const int high = scales[8 + j % 4] >> (j / 4 * 2) & 3;
    out.scales[j] = static_cast<int8_t>((low | high << 4) - 32);
  }
  read_two_bits(b + 32, out.quants);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i)
      out.quants[run * 32 + i] =
          static_cast<uint8_t>(out.quants[run * 32 + i] + (b[i] >> run & 1) * 4 + (32 - 4));
  out.d = load_u16(b + 108);
}

// Header, scales and nibbles of q4_k and q5_k: eight 6-bit scales and mins in 12 bytes; 64 elements share 32
// bytes.
void read_k4(const uint8_t* b, const uint8_t* qs, StoredBlock& out) {
  out.d = load_u16(b);
  out.dmin = load_u16(b + 2);
  const uint8_t* s = b + 4;
  for (int j = 0; j < 4; ++j) {
    out.scales[j] = static_cast<int8_t>(s[j] & 63);
    out.mins[j] = s[j + 4] & 63;
    out.scales[j + 4] = static_cast<int8_t>((s[j + 8] & 15) | (s[j] >> 6) << 4);
    out.mins[j + 4] = static_cast<uint8_t>((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
  }
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; ++i) {
      out.quants[pair * 64 + i] = qs[pair * 32 + i] & 15;
      out.quants[pair * 64 + 32 + i] = static_cast<uint8_t>(qs[pair * 32 + i] >> 4);
    }
  }
}
void read_q5_k(const uint8_t* b, StoredBlock& out) {
  read_k4(b, b + 48, out);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 32; ++i)
      out.quants[run * 32 + i] |= static_cast<uint8_t>((b[16 + i] >> run & 1) << 4);
}

void read_q6_k(const uint8_t* b, StoredBlock& out) {
  read_two_bits(b + 128, out.quants);
  for (int run = 0; run < 8; ++run) {
    const uint8_t* low = b + run / 4 * 64 + run % 2 * 32;
    const int shift = run % 4 < 2 ? 0 : 4;
    for (int i = 0; i < 32; ++i)
      out.quants[run * 32 + i] = static_cast<uint8_t>(out.quants[run * 32 + i] << 4 | (low[i] >> shift & 15));
  }
  std::memcpy(out.scales, b + 192, 16);
  out.d = load_u16(b + 208);
}

}  // namespace

void read_block(DType dtype, const std::byte* bytes, StoredBlock& block) {
  const auto* b = reinterpret_cast<const uint8_t*>(bytes);
  switch (dtype) {
    case DType::q4_0:
      return read_q4(b, 0, block);
    case DType::q4_1:
      return read_q4(b, 1, block);
    case DType::q5_0:
      return read_q5(b, 0, block);
    case DType::q5_1:
      return read_q5(b, 1, block);
    case DType::q8_0:
      return read_q8_0(b, block);
    case DType::iq4_nl:
      return read_iq4_nl(b, block);
    case DType::q2_k:
      return read_q2_k(b, block);
    case DType::q3_k:
      return read_q3_k(b, block);
    case DType::q4_k:
      return read_k4(b, b + 16, block);
    case DType::q5_k:
      return read_q5_k(b, block);
    case DType::q6_k:
      return read_q6_k(b, block);
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      break;
  }
  PAGODA_CHECK(false, "{} has no blocks", to_string(dtype));
}

}  // namespace pagoda
