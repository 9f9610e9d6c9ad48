// Packed weights on disk, so that a later start need not pack them.
//
// GUARANTEE. A cache is used only if each of the model's files has the size, the inode and the times of last
// modification and last change (which no program can set) that it had when it was packed, if samples of the
// weights have the same hash, and if names, types, shapes and places of all tensors, the way they are packed
// and kPackedLayoutVersion are the same. The model is not read as a whole: that would take as long as reading
// the cache. What this cannot see is a change in place on a machine whose clock was turned back to the
// nanosecond, or on a file system without those times, that spares all samples. Every byte of the cache
// itself is covered by a checksum (io/block_file.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/block_file.h"
#include "weights/planned_weights.h"

namespace pagoda {

// The file for a model: beside it where `folder` is empty, else in the folder, under a name of its own for
// each path of a model.
std::string packed_cache_path(const ModelFile& file, const std::string& folder);

// Of the model and the plan, whichever way its matrices were packed in the end: that is known only once they
// have been, and stands in the file's note.
BlockFileId packed_cache_id(const PlannedWeights& weights);

// Which matrices have a palette, a bit each. Outlines are part of the identity.
std::vector<std::byte> describe_packings(const PlannedWeights& weights);
// Sets them by the note of the file at `path`; corrupt if it cannot be of these weights.
Status apply_packings(const std::string& path, std::span<const std::byte> note, PlannedWeights& weights);

// An error unless the model's files still are what was opened.
Status check_unchanged(const ModelFile& file);

}  // namespace pagoda
