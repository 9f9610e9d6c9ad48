#include "io/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace pagoda {

namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // bits reversed: the lowest is of the highest power
static_assert(std::endian::native == std::endian::little);

using Table = std::array<uint32_t, 256>;

// table[k][b]: the CRC of byte b with k zero bytes after it.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; ++k)
    for (size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = (tables[k - 1][byte] >> 8) ^ tables[0][tables[k - 1][byte] & 0xFF];
  return tables;
}
constexpr std::array<Table, 8> kTables = make_tables();

uint64_t load_word(const std::byte* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return word;
}

uint32_t update_portable(uint32_t crc, std::span<const std::byte> bytes) {
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    const uint64_t word = load_word(bytes.data()) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xFF];
  }
  for (const std::byte byte : bytes)
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<uint32_t>(byte)) & 0xFF];
  return crc;
}

#if defined(__x86_64__)

// The instruction takes 3 cycles but one can start in each: three runs of this length go side by side.
constexpr size_t kRunBytes = 4096;

// crc -> the CRC after kRunBytes zero bytes. That is linear in crc, hence a table for each of its bytes.
constexpr std::array<Table, 4> make_shift() {
  // Column i of the map for one zero byte, squared until it is the one for kRunBytes.
  std::array<uint32_t, 32> columns{};
  for (size_t i = 0; i < 32; ++i) {
    const uint32_t crc = uint32_t{1} << i;
    columns[i] = (crc >> 8) ^ kTables[0][crc & 0xFF];
  }
  const auto apply = [](const std::array<uint32_t, 32>& map, uint32_t crc) {
    uint32_t result = 0;
    for (size_t i = 0; i < 32; ++i)
      if ((crc >> i) & 1) result ^= map[i];
    return result;
  };
  for (size_t length = 1; length < kRunBytes; length *= 2) {
    std::array<uint32_t, 32> squared{};
    for (size_t i = 0; i < 32; ++i) squared[i] = apply(columns, columns[i]);
    columns = squared;
  }
  std::array<Table, 4> shift{};
  for (size_t i = 0; i < 4; ++i)
    for (uint32_t byte = 0; byte < 256; ++byte) shift[i][byte] = apply(columns, byte << (8 * i));
  return shift;
}
constexpr std::array<Table, 4> kShift = make_shift();
static_assert(std::has_single_bit(kRunBytes));

uint32_t shift_by_run(uint64_t crc) {
  return kShift[0][crc & 0xFF] ^ kShift[1][(crc >> 8) & 0xFF] ^ kShift[2][(crc >> 16) & 0xFF] ^
         kShift[3][(crc >> 24) & 0xFF];
}

[[gnu::target("sse4.2")]] uint32_t update_hardware(uint32_t start, std::span<const std::byte> bytes) {
  uint64_t crc = start;
  for (; bytes.size() >= 3 * kRunBytes; bytes = bytes.subspan(3 * kRunBytes)) {
    const std::byte* at = bytes.data();
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kRunBytes; i += 8) {
      crc = _mm_crc32_u64(crc, load_word(at + i));
      second = _mm_crc32_u64(second, load_word(at + kRunBytes + i));
      third = _mm_crc32_u64(third, load_word(at + 2 * kRunBytes + i));
    }
    crc = shift_by_run(shift_by_run(crc) ^ second) ^ third;
  }
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) crc = _mm_crc32_u64(crc, load_word(bytes.data()));
  for (const std::byte byte : bytes)
    crc = _mm_crc32_u8(static_cast<uint32_t>(crc), static_cast<unsigned char>(byte));
  return static_cast<uint32_t>(crc);
}

#endif

}  // namespace

uint32_t crc32c_portable(std::span<const std::byte> bytes) {
  return ~update_portable(~uint32_t{0}, bytes);
}

uint32_t crc32c(std::span<const std::byte> bytes) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return ~update_hardware(~uint32_t{0}, bytes);
#endif
  return crc32c_portable(bytes);
}

}  // namespace pagoda
