// A file that holds one run of bytes, with a checksum for each of its blocks: what a process has computed and
// wants back unchanged in its next life.
//
//   4096 bytes   header: magic, version of this form, id, number of bytes, checksum of header, note and
//                table; the note, to the end
//   table        a 64-bit checksum for each block, padded to a multiple of 4096 bytes
//   blocks       the bytes themselves, to the end of the file
//
// Every byte of the file is covered by a checksum. Damage is found with certainty where it is of up to a few
// bits, else but for one case in 2^64; forgery is not.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/divided_work.h"
#include "base/result.h"
#include "io/hash.h"

namespace pagoda {

// What the bytes are.
struct BlockFileId {
  uint32_t version = 0;  // of the writer's form of the bytes
  Digest source;         // of all that they were made from
  bool operator==(const BlockFileId&) const = default;
};

// Of what a file says about its bytes, for a reader that cannot tell their number or form before.
inline constexpr size_t kMaxNoteBytes = 4000;

// Fills `out` with the bytes that were written under this id, at the rate of the disk where the file is not
// in the page cache (which is then left as it is) and of memory on num_threads threads where it is. `out`
// should be aligned to 4096 bytes. not_found, io, or corrupt: no such file, another id or size, damage; the
// message names the file and says which. After an error `out` holds anything.
Status read_block_file(const std::string& path, const BlockFileId& id, std::span<std::byte> out,
                       int num_threads, const WorkProgress& progress = {});

// The note of the file; errors as of read_block_file.
Result<std::vector<std::byte>> read_block_file_note(const std::string& path, const BlockFileId& id);

// Atomically (file_writer.h). io if the note is longer than kMaxNoteBytes.
Status write_block_file(const std::string& path, const BlockFileId& id, std::span<const std::byte> note,
                        std::span<const std::byte> bytes, int num_threads);

}  // namespace pagoda
