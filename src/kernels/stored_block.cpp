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

// Bytes by fours, so that one operation serves four quants. Copied first: what is read never overlaps what is
// written, which the compiler cannot know of plain pointers.
template <int kWords>
struct Words {
  uint32_t at[kWords];
};
template <int kWords>
Words<kWords> load_words(const uint8_t* bytes) {
  Words<kWords> words;
  std::memcpy(words.at, bytes, sizeof words.at);
  return words;
}

constexpr uint32_t kLow1 = 0x01010101;
constexpr uint32_t kLow2 = 0x03030303;
constexpr uint32_t kLow4 = 0x0f0f0f0f;

// 32 quants of blocks of 32: low nibbles, then high nibbles.
void read_nibbles(const uint8_t* qs, uint32_t* words) {
  const auto in = load_words<4>(qs);
  for (int i = 0; i < 4; ++i) {
    words[i] = in.at[i] & kLow4;
    words[4 + i] = in.at[i] >> 4 & kLow4;
  }
}
// The factor puts bit j of four into byte j.
void add_fifth_bits(uint32_t high, uint32_t* words) {
  for (int i = 0; i < 8; ++i) words[i] |= ((high >> 4 * i & 15) * 0x00204081 & kLow1) << 4;
}

void read_q4(const uint8_t* b, int has_min, StoredBlock& out) {
  out.d = load_u16(b);
  if (has_min) out.dmin = load_u16(b + 2);
  read_nibbles(b + 2 + 2 * has_min, out.words);
}
void read_q5(const uint8_t* b, int has_min, StoredBlock& out) {
  out.d = load_u16(b);
  if (has_min) out.dmin = load_u16(b + 2);
  read_nibbles(b + 6 + 2 * has_min, out.words);
  add_fifth_bits(load_u32(b + 2 + 2 * has_min), out.words);
}
void read_q8_0(const uint8_t* b, StoredBlock& out) {
  out.d = load_u16(b);
  const auto in = load_words<8>(b + 2);
  for (int i = 0; i < 8; ++i) out.words[i] = in.at[i] ^ 0x80808080;
}
void read_iq4_nl(const uint8_t* b, StoredBlock& out) {
  out.d = load_u16(b);
  uint8_t quants[32];
  for (int i = 0; i < 16; ++i) {
    quants[i] = kIq4NlBiased[b[2 + i] & 15];
    quants[16 + i] = kIq4NlBiased[b[2 + i] >> 4];
  }
  std::memcpy(out.words, quants, sizeof quants);
}

// 128 elements share 32 bytes, shift 0, 2, 4, 6 for each run of 32.
void read_two_bits(const uint8_t* bytes, uint32_t* words) {
  const auto in = load_words<16>(bytes);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 8; ++i) words[run * 8 + i] = in.at[run / 4 * 8 + i] >> (run % 4 * 2) & kLow2;
}

void read_q2_k(const uint8_t* b, StoredBlock& out) {
  for (int j = 0; j < 16; ++j) {
    out.scales[j] = static_cast<int8_t>(b[j] & 15);
    out.mins[j] = static_cast<uint8_t>(b[j] >> 4);
  }
  read_two_bits(b + 16, out.words);
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
  read_two_bits(b + 32, out.words);
  const auto high = load_words<8>(b);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 8; ++i)
      out.words[run * 8 + i] += ((high.at[i] >> run & kLow1) << 2) + (32 - 4) * kLow1;
  out.d = load_u16(b + 108);
}

// Eight 6-bit scales and mins in 12 bytes.
void read_k4_scales(const uint8_t* s, StoredBlock& out) {
  constexpr uint32_t kLow6 = 0x3f3f3f3f;
  const auto in = load_words<3>(s);
  const uint32_t scales[2] = {in.at[0] & kLow6, (in.at[2] & kLow4) | (in.at[0] >> 6 & kLow2) << 4};
  const uint32_t mins[2] = {in.at[1] & kLow6, (in.at[2] >> 4 & kLow4) | (in.at[1] >> 6 & kLow2) << 4};
  std::memcpy(out.scales, scales, sizeof scales);
  std::memcpy(out.mins, mins, sizeof mins);
}

// Header, scales and nibbles of q4_k and q5_k; 64 elements share 32 bytes.
void read_k4(const uint8_t* b, const uint8_t* qs, StoredBlock& out) {
  out.d = load_u16(b);
  out.dmin = load_u16(b + 2);
  read_k4_scales(b + 4, out);
  const auto in = load_words<32>(qs);
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 8; ++i) {
      out.words[pair * 16 + i] = in.at[pair * 8 + i] & kLow4;
      out.words[pair * 16 + 8 + i] = in.at[pair * 8 + i] >> 4 & kLow4;
    }
  }
}
void read_q5_k(const uint8_t* b, StoredBlock& out) {
  read_k4(b, b + 48, out);
  const auto high = load_words<8>(b + 16);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 8; ++i) out.words[run * 8 + i] |= (high.at[i] >> run & kLow1) << 4;
}

void read_q6_k(const uint8_t* b, StoredBlock& out) {
  read_two_bits(b + 128, out.words);
  const auto low = load_words<32>(b);
  for (int run = 0; run < 8; ++run)
    for (int i = 0; i < 8; ++i)
      out.words[run * 8 + i] = out.words[run * 8 + i] << 4 |
                               (low.at[run / 4 * 16 + run % 2 * 8 + i] >> (run % 4 < 2 ? 0 : 4) & kLow4);
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
