#include "io/model_source.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "io/hash.h"
#include "io/mapped_file.h"

namespace pagoda {

namespace {

// The hash of bytes from places all over the tensors.
Digest sample(const ModelFile& file) {
  constexpr uint64_t kPlaces = 16;
  constexpr uint64_t kSampleBytes = 4096;
  uint64_t total = 0;
  for (const NamedTensor& tensor : file.tensors()) total += tensor.view.data.size();
  std::vector<std::byte> bytes;
  uint64_t begin = 0;
  uint64_t place = 0;
  for (const NamedTensor& tensor : file.tensors()) {
    const std::span<const std::byte> data = tensor.view.data;
    while (place < kPlaces && total / kPlaces * place < begin + data.size()) {
      const uint64_t at = std::max(total / kPlaces * place++, begin) - begin;
      const auto part = data.subspan(at, std::min<uint64_t>(kSampleBytes, data.size() - at));
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    begin += data.size();
  }
  return digest(bytes);
}

}  // namespace

std::string describe_source(const ModelFile& file) {
  std::string text;
  const auto out = std::back_inserter(text);
  for (size_t i = 0; i < file.files().size(); ++i) {
    const MappedFile* mapping = file.mapping(static_cast<int>(i));
    if (mapping == nullptr) continue;
    const FileStamp& stamp = mapping->stamp();
    fmt::format_to(out, "file {} {} {} {}\n", stamp.num_bytes, stamp.inode, stamp.modified_ns,
                   stamp.changed_ns);
  }
  const Digest samples = sample(file);
  fmt::format_to(out, "samples {:x} {:x}\n", samples.low, samples.high);
  return text;
}

}  // namespace pagoda
