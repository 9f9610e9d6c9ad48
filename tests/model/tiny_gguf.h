// Writes GGUF files of a few tensors (version 3, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tensor/tensor_view.h"

namespace pagoda::testing {

class TinyGguf {
 public:
  void add(std::string_view key, const std::string& value) {
    put_key(key, kString), put_string(metadata_, value);
  }
  void add(std::string_view key, uint32_t value) { put_key(key, kU32), put(metadata_, value); }
  void add(std::string_view key, float value) { put_key(key, kF32), put(metadata_, value); }
  void add(std::string_view key, const std::vector<std::string>& values) {
    put_key(key, kArray), put(metadata_, uint32_t{kString}), put(metadata_, uint64_t{values.size()});
    for (const std::string& value : values) put_string(metadata_, value);
  }
  void add(std::string_view key, const std::vector<int32_t>& values) {
    put_key(key, kArray), put(metadata_, uint32_t{kI32}), put(metadata_, uint64_t{values.size()});
    for (const int32_t value : values) put(metadata_, value);
  }
  void add_tensor(std::string_view name, DType dtype, const Shape& shape,
                  const std::vector<std::byte>& bytes) {
    put_string(tensors_, name);
    put(tensors_, static_cast<uint32_t>(shape.rank));
    for (int axis = shape.rank - 1; axis >= 0; --axis) put(tensors_, static_cast<uint64_t>(shape[axis]));
    put(tensors_, info(dtype).ggml_id);
    put(tensors_, uint64_t{data_.size()});
    data_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    pad(data_);
    ++num_tensors_;
  }

  void write(const std::string& path) const {
    std::string file = "GGUF";
    put(file, uint32_t{3});
    put(file, num_tensors_);
    put(file, num_keys_);
    file += metadata_ + tensors_;
    pad(file);
    std::ofstream(path, std::ios::binary) << file << data_;
  }

 private:
  enum Type : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kString = 8, kArray = 9 };

  template <class T>
  static void put(std::string& out, T value) {
    static_assert(std::is_arithmetic_v<T>);
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void put_string(std::string& out, std::string_view text) {
    put(out, uint64_t{text.size()});
    out += text;
  }
  static void pad(std::string& out) { out.append((32 - out.size() % 32) % 32, '\0'); }
  void put_key(std::string_view key, Type type) {
    put_string(metadata_, key);
    put(metadata_, static_cast<uint32_t>(type));
    ++num_keys_;
  }

  std::string metadata_;
  std::string tensors_;
  std::string data_;
  uint64_t num_keys_ = 0;
  uint64_t num_tensors_ = 0;
};

}  // namespace pagoda::testing
