// Packing row by row.
#include "kernels/isa/pack_body.h"
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

}  // namespace pagoda::isa_scalar
