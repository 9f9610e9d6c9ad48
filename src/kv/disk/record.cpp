#include "kv/disk/record.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "io/crc32c.h"

namespace pagoda {

namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kFormVersion = 1;
constexpr std::array<char, 8> kRecordMagic = {'P', 'A', 'G', 'O', 'D', 'A', 'K', 'V'};
constexpr std::array<char, 8> kSegmentMagic = {'P', 'A', 'G', 'O', 'D', 'A', 'S', 'G'};

struct RecordFields {
  std::array<char, 8> magic;
  uint32_t form_version;
  uint32_t payload_crc;
  Digest fingerprint;
  Digest key;
  Digest parent;
  uint64_t payload_bytes;
  uint64_t generation;
  PageTokens tokens;
};
static_assert(sizeof(RecordFields) == 80 + sizeof(PageTokens));
struct SegmentFields {
  std::array<char, 8> magic;
  uint32_t form_version;
  uint32_t reserved;
  uint64_t slot_bytes;
  uint64_t payload_bytes;
};
static_assert(sizeof(SegmentFields) == 32);

// The block's last four bytes are the checksum of all the others.
constexpr size_t kChecksumAt = kHeaderBytes - sizeof(uint32_t);

template <class Fields>
void encode(const Fields& fields, std::span<std::byte> out) {
  static_assert(std::is_trivially_copyable_v<Fields> && sizeof(Fields) <= kChecksumAt);
  PAGODA_CHECK(out.size() == kHeaderBytes, "{}", out.size());
  std::ranges::fill(out, std::byte{0});
  std::memcpy(out.data(), &fields, sizeof fields);
  const uint32_t crc = crc32c(out.first(kChecksumAt));
  std::memcpy(out.data() + kChecksumAt, &crc, sizeof crc);
}

template <class Fields>
std::optional<Fields> decode(std::span<const std::byte> block, const std::array<char, 8>& magic) {
  PAGODA_CHECK(block.size() == kHeaderBytes, "{}", block.size());
  Fields fields;
  std::memcpy(&fields, block.data(), sizeof fields);
  if (fields.magic != magic || fields.form_version != kFormVersion) return std::nullopt;
  uint32_t crc = 0;
  std::memcpy(&crc, block.data() + kChecksumAt, sizeof crc);
  if (crc != crc32c(block.first(kChecksumAt))) return std::nullopt;
  return fields;
}

}  // namespace

void encode_header(const RecordHeader& header, std::span<std::byte> out) {
  encode(
      RecordFields{kRecordMagic, kFormVersion, header.payload_crc, header.fingerprint, header.identity.key,
                   header.identity.parent, header.payload_bytes, header.generation, header.identity.tokens},
      out);
}

std::optional<RecordHeader> decode_header(std::span<const std::byte> block) {
  const auto fields = decode<RecordFields>(block, kRecordMagic);
  if (!fields) return std::nullopt;
  return RecordHeader{fields->fingerprint,
                      {fields->key, fields->parent, fields->tokens},
                      fields->payload_bytes,
                      fields->payload_crc,
                      fields->generation};
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

void encode_superblock(const Superblock& superblock, std::span<std::byte> out) {
  encode(SegmentFields{kSegmentMagic, kFormVersion, 0, superblock.slot_bytes, superblock.payload_bytes}, out);
}

std::optional<Superblock> decode_superblock(std::span<const std::byte> block) {
  const auto fields = decode<SegmentFields>(block, kSegmentMagic);
  if (!fields) return std::nullopt;
  return Superblock{fields->slot_bytes, fields->payload_bytes};
}

}  // namespace pagoda
