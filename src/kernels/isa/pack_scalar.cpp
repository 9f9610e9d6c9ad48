// Packing row by row.
#include "kernels/isa/outline_body.h"
#include "kernels/isa/tables.h"

namespace pagoda::isa_scalar {

namespace {

class Row {
 public:
  using Word = uint32_t;

  Row(const std::byte* const* rows, int row, int64_t offset)
      : stored_(rows[row]), offset_(offset), row_(row) {}

  void load4(int offset, Word* out) const { __builtin_memcpy(out, stored_ + offset_ + offset, 16); }
  void store_words(Word word, uint8_t* out) const { __builtin_memcpy(out + 4 * row_, &word, 4); }
  void store_halves(Word word, uint8_t* out) const { __builtin_memcpy(out + 2 * row_, &word, 2); }
  void store_bytes(Word word, uint8_t* out) const {
    for (int j = 0; j < 4; ++j) out[16 * j + row_] = static_cast<uint8_t>(word >> 8 * j);
  }
  static Word look_up(const uint8_t* table, Word indices) {
    Word found = 0;
    for (int j = 0; j < 4; ++j) found |= Word{table[indices >> 8 * j & 15]} << 8 * j;
    return found;
  }
  static Word select(uint32_t mask, Word a, Word b) { return (a & mask) | (b & ~mask); }

 private:
  const std::byte* stored_;  // null where the row does not exist
  int64_t offset_;
  int row_;
};

}  // namespace

void pack_blocks(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* packed) noexcept {
  visit_stored_block<Row>(dtype, [&]<class Block, PackedFormat kFormat>() {
    auto* out = reinterpret_cast<uint8_t*>(packed);
    for (int64_t b = 0; b < num_blocks; ++b, out += block_layout(kFormat).bytes) {
      for (int r = 0; r < 16; ++r) {
        const Row row(rows, r, b * Block::kBytes);
        if (rows[r] == nullptr)
          pack_block<kFormat>(row, ZeroBlock<kFormat>(), out);
        else
          pack_block<kFormat>(row, Block(row), out);
      }
    }
  });
}

void pack_outline(DType dtype, const std::byte* const* rows, int64_t num_blocks, std::byte* outline,
                  std::byte* details) noexcept {
  visit_outlined<Row>(dtype, [&]<class Block, PackedFormat kWhole, PackedFormat kOutline>() {
    auto* upper = reinterpret_cast<uint8_t*>(outline);
    auto* lower = reinterpret_cast<uint8_t*>(details);
    OutlineErrors errors;
    for (int64_t b = 0; b < num_blocks; ++b) {
      for (int r = 0; r < 16; ++r) {
        const Row row(rows, r, b * Block::kBytes);
        if (rows[r] == nullptr)
          pack_outline_block<kWhole, kOutline>(row, r, ZeroBlock<kWhole>(), errors, upper, lower);
        else
          pack_outline_block<kWhole, kOutline>(row, r, Block(row), errors, upper, lower);
      }
      upper += block_layout(kOutline).bytes;
      lower += block_details_bytes(kOutline);
    }
    errors.store<kOutline>(num_blocks, reinterpret_cast<uint8_t*>(outline));
  });
}

void join_outline(DType dtype, const std::byte* outline, const std::byte* details, int64_t num_blocks,
                  std::byte* out) noexcept {
  join_outline_of<Row>(dtype, outline, details, num_blocks, out);
}

}  // namespace pagoda::isa_scalar
