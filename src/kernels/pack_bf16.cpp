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
constexpr size_t kBlockVectors = kPaletteBlockVectors;
static_assert(kVectorBytes == kRows * kPairBytes);

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
using Block = std::array<Run, kBlockRuns>;

size_t exponent_of(uint32_t bits) {
  return bits >> kExponentShift & 0xff;
}

// Calls f(vector, row, pair) for all of a block's runs.
template <class F>
void for_each_pair(std::span<const Run> runs, F f) {
  for (size_t i = 0; i < runs.size(); ++i)
    for (size_t vector = 0; vector < kRunVectors; ++vector)
      for (size_t row = 0; row < kRows; ++row) f(i * kRunVectors + vector, row, runs[i][vector][row]);
}

// The exponents of a block and a part, and their places: in the order in which they are met, or, where there
// are more than places, first those that are met most often.
class Palette {
 public:
  Palette() {
    codes_.fill(kNone);
    odd_codes_.fill(kNone);
  }

  // Writes a block's runs, kPaletteRunBytes apart. Weights whose exponent has no place get some place.
  void encode(std::span<const Run> runs, std::byte* out) {
    forget();
    for (size_t i = 0; i < runs.size(); ++i) encode(runs[i], out + i * kPaletteRunBytes);
    if (has_all()) return;
    choose(runs);
    for (size_t i = 0; i < runs.size(); ++i) encode(runs[i], out + i * kPaletteRunBytes);
  }
  void write(std::byte* out) const {
    std::memset(out, 0, kPaletteSize);
    std::memcpy(out, met_.data(), std::min<size_t>(num_met_, kPaletteSize));
  }
  bool has_all() const { return num_met_ <= kPaletteSize; }
  bool has(size_t exponent) const { return codes_[exponent] != 0 || met_[0] == exponent; }

 private:
  // Above all codes of a word, wherever in it.
  static constexpr uint64_t kNone = uint64_t{1} << 32;

  void encode(const Run& run, std::byte* out) {
    // The first run of a block certainly has new ones.
    if (num_met_ == 0 || !write_codes(run, out + kRunCodes)) {
      for (const Vector& vector : run)
        for (const uint32_t pair : vector) add_both(pair);
      write_codes(run, out + kRunCodes);
    }
    for (size_t i = 0; i < kRunVectors; i += 2) {
      Vector lanes;
      for (size_t row = 0; row < kRows; ++row) lanes[row] = pack_pairs(run[i][row], run[i + 1][row]);
      std::memcpy(out + i / 2 * kVectorBytes, lanes.data(), kVectorBytes);
    }
  }
  // False if the run has an exponent that was not met before.
  bool write_codes(const Run& run, std::byte* out) const {
    uint64_t all = 0;
    for (size_t row = 0; row < kRows; ++row) {
      uint64_t codes = 0;
      for (size_t i = kRunVectors; i-- > 0;) {
        const uint32_t pair = run[i][row];
        codes = codes << kCodeBits | codes_[pair >> kExponentShift & 0x1ff] |
                odd_codes_[pair >> (16 + kExponentShift)];
      }
      all |= codes;
      const auto words = static_cast<uint32_t>(codes);
      std::memcpy(out + row * kPairBytes, &words, sizeof words);
    }
    return all < kNone;
  }
  void add_both(uint32_t pair) {
    if ((codes_[pair >> kExponentShift & 0x1ff] | odd_codes_[pair >> (16 + kExponentShift)]) < kNone) return;
    add(exponent_of(pair));
    add(exponent_of(pair >> 16));
  }
  void add(size_t exponent) {
    if (codes_[exponent] != kNone) return;
    met_[num_met_] = static_cast<uint8_t>(exponent);
    place_code(num_met_++);
  }
  void place_code(size_t place) { set_code(met_[place], place < kPaletteSize ? place : 0); }
  void set_code(size_t exponent, uint64_t code) {
    codes_[exponent] = codes_[0x100 | exponent] = code;
    odd_codes_[exponent] = odd_codes_[0x100 | exponent] = code == kNone ? kNone : code << 16;
  }
  void choose(std::span<const Run> runs) {
    std::array<int, 256> counts = {};
    for_each_pair(runs, [&](size_t, size_t, uint32_t pair) {
      ++counts[exponent_of(pair)];
      ++counts[exponent_of(pair >> 16)];
    });
    std::stable_sort(met_.begin(), met_.begin() + static_cast<ptrdiff_t>(num_met_),
                     [&](uint8_t a, uint8_t b) { return counts[a] > counts[b]; });
    for (size_t place = 0; place < num_met_; ++place) place_code(place);
  }
  void forget() {
    for (const uint8_t exponent : std::span(met_).first(num_met_)) set_code(exponent, kNone);
    num_met_ = 0;
  }

  // By sign and exponent; those of an odd k of a pair where its codes lie.
  std::array<uint64_t, 512> codes_;
  std::array<uint64_t, 512> odd_codes_;
  std::array<uint8_t, 256> met_ = {};
  size_t num_met_ = 0;
};

// The list behind a group's palettes.
class Exceptions {
 public:
  Exceptions(const PaletteLayout& at, std::byte* group)
      : next_(group + at.exceptions), left_(at.num_exceptions()), end_(group + at.runs) {}

  // Those of a part of a block whose columns begin at first_col; false if there are too many.
  bool add(const Palette& palette, std::span<const Run> runs, size_t part, int64_t first_col,
           int64_t num_cols) {
    bool fits = true;
    for_each_pair(runs, [&](size_t vector, size_t row, uint32_t pair) {
      const int64_t k = first_col + 2 * static_cast<int64_t>(vector);
      for (int odd = 0; odd < 2 && k < num_cols; ++odd) {
        const size_t exponent = exponent_of(pair >> 16 * odd);
        if (palette.has(exponent)) continue;
        fits = fits && left_-- > 0;
        if (fits)
          write(exception_of(k + odd, static_cast<int>(part * kRows + row), static_cast<int>(exponent)));
      }
    });
    return fits;
  }
  void finish() {
    while (next_ != end_) write(kNoException);
  }

 private:
  void write(uint32_t word) {
    std::memcpy(next_, &word, sizeof word);
    next_ += sizeof word;
  }

  std::byte* next_;
  int64_t left_;
  std::byte* end_;
};

}  // namespace

bool pack_palette(std::span<const std::byte* const, 2 * kRowsPerGroup> rows, int64_t num_cols,
                  std::byte* out) {
  const PaletteLayout at = palette_layout(num_cols);
  const auto num_vectors = static_cast<size_t>(num_cols + 1) / 2;
  Palette palette;
  Exceptions exceptions(at, out);
  std::byte* run = out + at.runs;
  std::byte* places = out;
  for (size_t begin = 0; begin < num_vectors; begin += kBlockVectors) {
    const size_t end = std::min(begin + kBlockVectors, num_vectors);
    const size_t num_runs = (end - begin + kRunVectors - 1) / kRunVectors;
    for (size_t part = 0; part < kPaletteParts; ++part, places += kPaletteSize) {
      Block block = {};
      gather(rows.subspan(part * kRows).first<kRows>(), num_cols, begin, end,
             reinterpret_cast<std::byte*>(block.data()));
      const std::span<const Run> runs = std::span(block).first(num_runs);
      palette.encode(runs, run + part * kRunPartBytes);
      palette.write(places);
      if (!palette.has_all() &&
          !exceptions.add(palette, runs, part, 2 * static_cast<int64_t>(begin), num_cols))
        return false;
    }
    run += num_runs * kPaletteRunBytes;
  }
  exceptions.finish();
  return true;
}

void pack_pairs_plainly(std::span<const std::byte* const, kRowsPerGroup> rows, int64_t num_cols,
                        std::byte* out) {
  gather(rows, num_cols, 0, static_cast<size_t>(num_cols + 1) / 2, out);
}

}  // namespace pagoda
