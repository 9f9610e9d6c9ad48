// Writes GGUF files of a few tensors, well-formed ones and, through the raw members, any others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tensor/tensor_view.h"

namespace pagoda::testing {

// The ids of metadata value types.
enum class GgufType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

template <class T>
constexpr GgufType gguf_type_of() {
  if constexpr (std::is_same_v<T, bool>) return GgufType::boolean;
  if constexpr (std::is_same_v<T, uint8_t>) return GgufType::u8;
  if constexpr (std::is_same_v<T, int8_t>) return GgufType::i8;
  if constexpr (std::is_same_v<T, uint16_t>) return GgufType::u16;
  if constexpr (std::is_same_v<T, int16_t>) return GgufType::i16;
  if constexpr (std::is_same_v<T, uint32_t>) return GgufType::u32;
  if constexpr (std::is_same_v<T, int32_t>) return GgufType::i32;
  if constexpr (std::is_same_v<T, uint64_t>) return GgufType::u64;
  if constexpr (std::is_same_v<T, int64_t>) return GgufType::i64;
  if constexpr (std::is_same_v<T, float>) return GgufType::f32;
  if constexpr (std::is_same_v<T, double>) return GgufType::f64;
  return GgufType::string;
}

// The bytes of plain values, one after another.
class ByteWriter {
 public:
  template <class T>
  ByteWriter& put(T value) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  ByteWriter& put_string(std::string_view text) {
    put(uint64_t{text.size()});
    return put_bytes(text);
  }
  ByteWriter& put_bytes(std::string_view bytes) {
    bytes_.append(bytes);
    return *this;
  }
  void pad_to(size_t alignment) { bytes_.append((alignment - bytes_.size() % alignment) % alignment, '\0'); }

  size_t size() const { return bytes_.size(); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class GgufWriter {
 public:
  // `alignment` is that of tensors; other values than 32 need add("general.alignment", …), too.
  explicit GgufWriter(uint32_t version = 3, size_t alignment = 32)
      : version_(version), alignment_(alignment) {}

  template <class T>
    requires std::is_arithmetic_v<T>
  GgufWriter& add(std::string_view key, T value) {
    put_key(key).put(gguf_type_of<T>()).put(value);
    return *this;
  }
  GgufWriter& add(std::string_view key, std::string_view value) {
    put_key(key).put(GgufType::string).put_string(value);
    return *this;
  }
  GgufWriter& add(std::string_view key, const char* value) { return add(key, std::string_view(value)); }
  GgufWriter& add(std::string_view key, const std::string& value) {
    return add(key, std::string_view(value));
  }
  template <class T>
  GgufWriter& add(std::string_view key, const std::vector<T>& values) {
    ByteWriter& out = put_key(key).put(GgufType::array).put(gguf_type_of<T>()).put(uint64_t{values.size()});
    for (const auto& value : values) {
      if constexpr (std::is_same_v<T, std::string>) {
        out.put_string(value);
      } else {
        out.put(static_cast<T>(value));
      }
    }
    return *this;
  }
  // A key whose type and value the caller puts himself.
  ByteWriter& add_raw(std::string_view key) { return put_key(key); }

  GgufWriter& add_tensor(std::string_view name, DType dtype, const Shape& shape,
                         std::span<const std::byte> data) {
    std::vector<uint64_t> dims;
    for (int axis = shape.rank - 1; axis >= 0; --axis) dims.push_back(static_cast<uint64_t>(shape[axis]));
    add_raw_tensor(name, dims, info(dtype).ggml_id, data_.size());
    data_.put_bytes({reinterpret_cast<const char*>(data.data()), data.size()});
    data_.pad_to(alignment_);
    return *this;
  }
  // Only a description: innermost dimension first, offset from the start of the data.
  GgufWriter& add_raw_tensor(std::string_view name, std::span<const uint64_t> dims, uint32_t type_id,
                             uint64_t offset) {
    tensors_.put_string(name).put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) tensors_.put(dim);
    tensors_.put(type_id).put(offset);
    ++num_tensors_;
    return *this;
  }
  void set_counts(uint64_t num_tensors, uint64_t num_keys) {
    num_tensors_ = num_tensors;
    num_keys_ = num_keys;
  }

  std::string bytes() const {
    ByteWriter file;
    file.put_bytes("GGUF").put(version_).put(num_tensors_).put(num_keys_);
    file.put_bytes(metadata_.bytes()).put_bytes(tensors_.bytes());
    file.pad_to(alignment_);
    return file.bytes() + data_.bytes();
  }
  void write(const std::string& path) const { std::ofstream(path, std::ios::binary) << bytes(); }

 private:
  ByteWriter& put_key(std::string_view key) {
    ++num_keys_;
    return metadata_.put_string(key);
  }

  uint32_t version_;
  size_t alignment_;
  ByteWriter metadata_;
  ByteWriter tensors_;
  ByteWriter data_;
  uint64_t num_keys_ = 0;
  uint64_t num_tensors_ = 0;
};

}  // namespace pagoda::testing
