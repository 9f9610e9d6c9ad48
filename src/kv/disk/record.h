// The bytes of a stored page on the disk. All numbers are little-endian.
//
//   segment file:  [superblock 4 KiB][slot][slot] …
//   slot:          [header 4 KiB][payload: the page, all layers; padded to 4 KiB]
//
// A slot holds a page if its header's checksum is right and, once it is read, its payload's, too. Headers are
// written after their payloads, and zeroed before a slot is written again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "io/file_system.h"
#include "io/hash.h"
#include "kv/page_store.h"

namespace pagoda {

inline constexpr size_t kHeaderBytes = kDirectAlignment;

struct RecordHeader {
  Digest fingerprint;  // of all that changes K and V
  PageIdentity identity;
  uint64_t payload_bytes = 0;
  uint32_t payload_crc = 0;
  uint64_t generation = 0;  // counts the pages that were ever written to this folder
  bool operator==(const RecordHeader&) const = default;
};

// `out`: kHeaderBytes.
void encode_header(const RecordHeader& header, std::span<std::byte> out);
// Nothing if the block is no header, of another version of this form, or damaged in any byte.
std::optional<RecordHeader> decode_header(std::span<const std::byte> block);

bool is_zero(std::span<const std::byte> bytes);

struct Superblock {
  uint64_t slot_bytes = 0;
  uint64_t payload_bytes = 0;
  bool operator==(const Superblock&) const = default;
};

// Likewise.
void encode_superblock(const Superblock& superblock, std::span<std::byte> out);
std::optional<Superblock> decode_superblock(std::span<const std::byte> block);

constexpr uint64_t slot_bytes_of(uint64_t payload_bytes) {
  return kHeaderBytes + (payload_bytes + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment;
}

}  // namespace pagoda
