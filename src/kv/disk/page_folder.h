// A folder of stored pages as a person sees it: what it holds, whether that is whole, and its end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"
#include "io/hash.h"

namespace pagoda {

struct PagesOfFingerprint {
  Digest fingerprint;
  int64_t num_pages = 0;
  uint64_t oldest_generation = 0;
  uint64_t newest_generation = 0;
};

struct PageFolderInfo {
  uint64_t page_bytes = 0;
  int32_t num_slots = 0;
  int32_t num_damaged = 0;  // headers that are neither empty nor right, or cannot be read
  uint64_t file_bytes = 0;
  int32_t num_files = 0;
  std::vector<PagesOfFingerprint> fingerprints;  // most pages first

  int64_t num_pages() const;
};

// Reads the headers; fine while a process uses the folder. not_found if it holds no pages.
Result<PageFolderInfo> inspect_page_folder(FileSystem& files, const std::string& folder);

struct PageFolderCheck {
  int64_t num_pages = 0;  // all that were looked at, with the bad ones
  uint64_t num_bytes = 0;
  std::vector<std::string> problems;  // a sentence for each bad page, with file and place
};

// Reads everything. An error if a process uses the folder, since what it is about to write looks damaged.
// progress: 0 … 1; may be empty.
Result<PageFolderCheck> verify_page_folder(FileSystem& files, const std::string& folder,
                                           const std::function<void(double)>& progress);

struct PageFolderRemoval {
  int32_t num_files = 0;
  uint64_t num_bytes = 0;
};

// Removes the files with pages, whatever state they are in, and nothing else. An error if a process uses the
// folder.
Result<PageFolderRemoval> clear_page_folder(FileSystem& files, const std::string& folder);

}  // namespace pagoda
