// Reference data of tests/data: tensors by name out of a safetensors file, and the tolerances of a manifest.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

namespace pagoda::testing {

inline std::string read_whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// int32 and float32 tensors of a safetensors file.
class GoldenFile {
 public:
  explicit GoldenFile(const std::string& path) : bytes_(read_whole_file(path)) {
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes_.data(), sizeof header_bytes);
    header_ = boost::json::parse(std::string_view(bytes_).substr(8, header_bytes)).as_object();
    data_ = 8 + header_bytes;
  }
  std::vector<int32_t> ints(const std::string& name) const { return values<int32_t>(name, "I32"); }
  std::vector<float> floats(const std::string& name) const { return values<float>(name, "F32"); }

 private:
  template <class T>
  std::vector<T> values(const std::string& name, std::string_view dtype) const {
    const boost::json::object& tensor = header_.at(name).as_object();
    if (tensor.at("dtype").as_string() != dtype) throw std::runtime_error(name + ": another type");
    const auto begin = tensor.at("data_offsets").at(0).to_number<size_t>();
    const auto end = tensor.at("data_offsets").at(1).to_number<size_t>();
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), bytes_.data() + data_ + begin, end - begin);
    return values;
  }

  std::string bytes_;
  boost::json::object header_;
  size_t data_ = 0;
};

inline double logits_tolerance(const std::string& folder) {
  const boost::json::value manifest = boost::json::parse(read_whole_file(folder + "/manifest.json"));
  return manifest.at("tolerance_fp32").at("logits").to_number<double>();
}

}  // namespace pagoda::testing
