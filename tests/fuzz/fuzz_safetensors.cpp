// safetensors files from untrusted sources. Inputs are bare headers; the length in front and some data behind
// are added here, so that the fuzzer does not have to keep them right. Inputs whose first byte is '#' are
// whole files.
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "fuzz/read_tensors.h"
#include "io/model_file.h"

namespace {

constexpr size_t kDataBytes = 4096;

std::vector<std::byte> make_file(std::span<const std::byte> input) {
  if (!input.empty() && input[0] == std::byte{'#'}) return {input.begin() + 1, input.end()};
  std::vector<std::byte> file(sizeof(uint64_t) + input.size() + kDataBytes);
  const uint64_t header_bytes = input.size();
  std::memcpy(file.data(), &header_bytes, sizeof header_bytes);
  if (!input.empty()) std::memcpy(file.data() + sizeof header_bytes, input.data(), input.size());
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace pagoda;
  const std::vector<std::byte> file = make_file(std::as_bytes(std::span(bytes, size)));
  const auto contents = parse_safetensors(file, "fuzz.safetensors");
  if (contents) {
    testing::check_tensors(file, contents->tensors);
    for (const UnreadTensor& tensor : contents->unread)
      PAGODA_CHECK(tensor.dtype.starts_with('\'') && tensor.dtype.size() < 100, "{}", tensor.dtype);
  } else {
    PAGODA_CHECK(contents.error().message.starts_with("fuzz.safetensors: "), "{}", contents.error().message);
    PAGODA_CHECK(contents.error().message.size() < 500, "{}", contents.error().message);
  }
  return 0;
}
