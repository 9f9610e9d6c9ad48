#include "cli/input_file.h"

#include <fstream>

namespace pagoda {

Result<std::string> read_input_file(const std::string& path) {
  constexpr size_t kMaxBytes = size_t{1} << 30;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  char block[1 << 16];
  // read(), other than iterators over the stream's buffer, does not throw for a folder.
  while (file.read(block, sizeof block) || file.gcount() > 0) {
    text.append(block, static_cast<size_t>(file.gcount()));
    if (text.size() > kMaxBytes) return fail(ErrorCode::corrupt, "{}: is longer than 1 GiB", path);
  }
  if (!file.is_open() || file.bad())
    return fail(ErrorCode::not_found, "{}: cannot be read; check the path", path);
  return text;
}

}  // namespace pagoda
