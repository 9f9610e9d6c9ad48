// Writes safetensors files.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pagoda::testing {

// A file of any header and data.
inline std::string safetensors_file(std::string_view header, std::string_view data) {
  const uint64_t header_bytes = header.size();
  std::string file(sizeof header_bytes, '\0');
  std::memcpy(file.data(), &header_bytes, sizeof header_bytes);
  return file.append(header).append(data);
}

class SafetensorsWriter {
 public:
  // dtype as the format spells it: "F32", "BF16" …
  SafetensorsWriter& add(std::string_view name, std::string_view dtype, std::span<const int64_t> shape,
                         std::span<const std::byte> data) {
    header_ += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                           header_.empty() ? "" : ",", name, dtype, fmt::join(shape, ","), data_.size(),
                           data_.size() + data.size());
    data_.append(reinterpret_cast<const char*>(data.data()), data.size());
    return *this;
  }
  std::string bytes() const { return safetensors_file("{" + header_ + "}", data_); }

 private:
  std::string header_;
  std::string data_;
};

}  // namespace pagoda::testing
