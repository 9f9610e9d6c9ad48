// The system's page cache of some files: what a cold start is, and how fast it could be at best.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace pagoda {

// Drops the files' pages, so that the next read comes from the disk. unsupported if pages stay: another
// process has the file mapped, or the system keeps them. (What a disk or a host keeps is out of reach.)
Status drop_from_page_cache(const std::vector<std::string>& files);

// Reads all bytes once in blocks of a few MiB on some threads of its own; bytes per second.
Result<double> read_rate(const std::vector<std::string>& files, int num_threads);

// Bytes of all files together.
Result<uint64_t> total_file_bytes(const std::vector<std::string>& files);

}  // namespace pagoda
