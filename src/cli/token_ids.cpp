#include "cli/token_ids.h"

#include <algorithm>
#include <charconv>

#include "cli/input_file.h"
#include "cli/npy.h"

namespace pagoda {

Result<std::vector<int32_t>> parse_ids(std::string_view text) {
  constexpr std::string_view kSeparators = " ,\t\r\n";
  std::vector<int32_t> ids;
  for (size_t at = text.find_first_not_of(kSeparators); at != std::string_view::npos;
       at = text.find_first_not_of(kSeparators, at)) {
    const size_t end = std::min(text.find_first_of(kSeparators, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    int32_t id = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || rest != word.data() + word.size() || id < 0)
      return fail(ErrorCode::invalid_argument, "'{}' is no token id; write ids as 1,2,3", word.substr(0, 40));
    ids.push_back(id);
    at = end;
  }
  if (ids.empty()) return fail(ErrorCode::invalid_argument, "no token ids; write them as 1,2,3");
  return ids;
}

Result<std::vector<int32_t>> read_ids_file(const std::string& path) {
  PAGODA_TRY(const std::string bytes, read_input_file(path));
  if (is_npy(bytes)) return parse_npy_ids(bytes, path);
  auto ids = parse_ids(bytes);
  if (!ids) return fail(ids.error().code, "{}: {}", path, ids.error().message);
  return ids;
}

}  // namespace pagoda
