// GGUF files from untrusted sources: contents that lie in the file, or an Error that names it.
#include <cstdint>

#include "base/check.h"
#include "fuzz/read_tensors.h"
#include "io/model_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace pagoda;
  const auto file = std::as_bytes(std::span(bytes, size));
  const auto contents = parse_gguf(file, "fuzz.gguf");
  if (contents) {
    testing::check_tensors(file, contents->tensors);
  } else {
    PAGODA_CHECK(contents.error().message.starts_with("fuzz.gguf: "), "{}", contents.error().message);
    PAGODA_CHECK(contents.error().message.size() < 500, "{}", contents.error().message);
  }
  return 0;
}
