// How long pages take to a disk and back, as `bench kv-disk --json` prints it and `simulate` reads it.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace pagoda {

// A page by itself takes both; of n under way at once the last takes `latency` and n times `page`.
struct DiskWay {
  double latency_seconds = 0;
  double page_seconds = 0;
};

struct DiskModel {
  uint64_t page_bytes = 0;
  int queue_depth = 0;  // transfers under way at once
  DiskWay write;
  DiskWay read;
};

// The lines of one way to ask the system (the first that the file has) for pages of page_bytes.
// invalid_argument names the file and what is missing.
Result<DiskModel> read_disk_model(const std::string& path);

}  // namespace pagoda
