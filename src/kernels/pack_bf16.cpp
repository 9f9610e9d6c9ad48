#include "kernels/pack_bf16.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/isa/linear_layout.h"

namespace pagoda {

namespace {

using Rows = std::span<const std::byte* const, 16>;

constexpr size_t kRows = kRowsPerGroup;
constexpr size_t kPairBytes = 4;
constexpr size_t kVectorBytes = kRows * kPairBytes;
constexpr Bf16Layout kPalette = bf16_layout(Packing::palette);
constexpr auto kRunVectors = static_cast<size_t>(kPalette.run_vectors);
// As many as are gathered at a time lie in the first cache.
constexpr size_t kChunkRuns = 8;

// Four lanes of a vector, in the compiler's portable form.
using Lanes [[gnu::vector_size(16)]] = uint32_t;

Lanes load_lanes(const std::byte* p) {
  Lanes lanes;
  std::memcpy(&lanes, p, sizeof lanes);
  return lanes;
}

// Pairs [pair, pair + 4) of rows [row, row + 4) as lanes of four vectors.
void transpose(Rows rows, size_t row, size_t pair, std::byte* out) {
  const auto lanes = [&](size_t i) {
    const std::byte* p = rows[row + i];
    return p == nullptr ? Lanes{} : load_lanes(p + pair * kPairBytes);
  };
  const Lanes a = lanes(0);
  const Lanes b = lanes(1);
  const Lanes c = lanes(2);
  const Lanes d = lanes(3);
  const Lanes ab01 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Lanes ab23 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Lanes cd01 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Lanes cd23 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const std::array<Lanes, 4> vectors = {
      __builtin_shufflevector(ab01, cd01, 0, 1, 4, 5), __builtin_shufflevector(ab01, cd01, 2, 3, 6, 7),
      __builtin_shufflevector(ab23, cd23, 0, 1, 4, 5), __builtin_shufflevector(ab23, cd23, 2, 3, 6, 7)};
  for (size_t i = 0; i < vectors.size(); ++i)
    std::memcpy(out + i * kVectorBytes + row * kPairBytes, &vectors[i], sizeof vectors[i]);
}

// Vectors [begin, end) of the group as plain packing has them; the pair of the last of an odd number of
// columns is 0.
void gather(Rows rows, int64_t num_cols, size_t begin, size_t end, std::byte* out) {
  const size_t row_bytes = 2 * static_cast<size_t>(num_cols);
  const size_t whole_end = std::min(end, row_bytes / kPairBytes);
  size_t pair = begin;
  for (; pair + 4 <= whole_end; pair += 4)
    for (size_t row = 0; row < kRows; row += 4)
      transpose(rows, row, pair, out + (pair - begin) * kVectorBytes);
  for (; pair < end; ++pair) {
    for (size_t row = 0; row < kRows; ++row) {
      const size_t offset = pair * kPairBytes;
      uint32_t value = 0;
      if (rows[row] != nullptr)
        std::memcpy(&value, rows[row] + offset, std::min(kPairBytes, row_bytes - offset));
      std::memcpy(out + (pair - begin) * kVectorBytes + row * kPairBytes, &value, kPairBytes);
    }
  }
}

using Vector = std::array<uint32_t, kRows>;
using Run = std::array<Vector, kRunVectors>;

// The exponents of a group and their places, in the order in which they are met.
class Palette {
 public:
  Palette() { codes_.fill(kNone); }

  // Writes a run; false if there are too many exponents.
  bool encode(const Run& run, std::byte* out) {
    if (!write_codes(run, out + kPalette.codes)) {
      for (const Vector& vector : run)
        for (const uint32_t pair : vector)
          if (!add(pair & 0xffff) || !add(pair >> 16)) return false;
      write_codes(run, out + kPalette.codes);
    }
    for (size_t i = 0; i < kRunVectors; i += 2) {
      Vector lanes;
      for (size_t row = 0; row < kRows; ++row) lanes[row] = pack_pairs(run[i][row], run[i + 1][row]);
      std::memcpy(out + i / 2 * kVectorBytes, lanes.data(), kVectorBytes);
    }
    return true;
  }
  void write(std::byte* out) const {
    std::memset(out, 0, kPalette.header_bytes);
    std::memcpy(out, exponents_.data(), exponents_.size());
  }

 private:
  // Above all codes of a word, wherever in it.
  static constexpr uint32_t kNone = 1u << 20;

  // False if the run has an exponent without a place.
  bool write_codes(const Run& run, std::byte* out) const {
    uint32_t all = 0;
    for (size_t first = 0; first < kRunVectors; first += kCodesPerWord, out += kVectorBytes) {
      for (size_t row = 0; row < kRows; ++row) {
        uint32_t even = 0;
        uint32_t odd = 0;
        for (size_t i = 0; i < kCodesPerWord; ++i) {
          const uint32_t pair = run[first + i][row];
          even |= codes_[pair >> kExponentShift & 0x1ff] << (kCodeBits * i);
          odd |= codes_[pair >> (16 + kExponentShift)] << (kCodeBits * i);
        }
        all |= even | odd;
        const uint32_t words = (even & 0xffff) | odd << 16;
        std::memcpy(out + row * kPairBytes, &words, sizeof words);
      }
    }
    return all < kNone;
  }
  bool add(uint32_t bits) {
    const size_t exponent = bits >> kExponentShift & 0xff;
    if (codes_[exponent] != kNone) return true;
    if (size_ == exponents_.size()) return false;
    codes_[exponent] = codes_[0x100 | exponent] = static_cast<uint32_t>(size_);
    exponents_[size_++] = static_cast<uint8_t>(exponent);
    return true;
  }

  std::array<uint32_t, 512> codes_;  // by sign and exponent
  std::array<uint8_t, kPaletteSize> exponents_ = {};
  size_t size_ = 0;
};

bool pack_palette(Rows rows, int64_t num_cols, std::byte* out) {
  const auto num_vectors = static_cast<size_t>(num_cols + 1) / 2;
  Palette palette;
  std::byte* to = out + kPalette.header_bytes;
  for (size_t begin = 0; begin < num_vectors; begin += kChunkRuns * kRunVectors) {
    std::array<Run, kChunkRuns> runs = {};
    const size_t end = std::min(begin + kChunkRuns * kRunVectors, num_vectors);
    gather(rows, num_cols, begin, end, reinterpret_cast<std::byte*>(runs.data()));
    for (size_t i = 0; begin + i * kRunVectors < end; ++i, to += kPalette.run_bytes)
      if (!palette.encode(runs[i], to)) return false;
  }
  palette.write(out);
  return true;
}

}  // namespace

bool pack_bf16(Packing packing, std::span<const std::byte* const, 16> rows, int64_t num_cols,
               std::byte* out) {
  if (packing == Packing::palette) return pack_palette(rows, num_cols, out);
  gather(rows, num_cols, 0, static_cast<size_t>(num_cols + 1) / 2, out);
  return true;
}

}  // namespace pagoda
