// safetensors: a 64-bit length, a JSON header {name: {dtype, shape, data_offsets}}, tensor data.
#include <cstring>
#include <limits>
#include <optional>

#include <boost/json.hpp>

#include "io/model_file.h"

namespace pagoda {

namespace {

namespace json = boost::json;

constexpr uint64_t kMaxHeaderBytes = uint64_t{100} << 20;

std::optional<DType> dtype_from_name(std::string_view name) {
  if (name == "F32") return DType::f32;
  if (name == "F16") return DType::f16;
  if (name == "BF16") return DType::bf16;
  return std::nullopt;
}

Result<Shape> parse_shape(const json::value* value, std::string_view file, std::string_view tensor) {
  const json::array* dims = value == nullptr ? nullptr : value->if_array();
  if (dims == nullptr || dims->size() > static_cast<size_t>(Shape::kMaxRank))
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has no shape of at most 4 dimensions", file, tensor);
  Shape shape;
  shape.rank = static_cast<int>(dims->size());
  int64_t num_elements = 1;
  for (size_t axis = 0; axis < dims->size(); ++axis) {
    const int64_t* dim = (*dims)[axis].if_int64();
    if (dim == nullptr || *dim < 1 || __builtin_mul_overflow(num_elements, *dim, &num_elements))
      return fail(ErrorCode::corrupt, "{}: tensor '{}' has an impossible shape", file, tensor);
    shape.dims[axis] = *dim;
  }
  return shape;
}

Result<std::pair<uint64_t, uint64_t>> parse_offsets(const json::value* value, uint64_t data_bytes,
                                                    std::string_view file, std::string_view tensor) {
  const json::array* offsets = value == nullptr ? nullptr : value->if_array();
  if (offsets == nullptr || offsets->size() != 2 || !(*offsets)[0].is_int64() || !(*offsets)[1].is_int64())
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has no pair of data_offsets", file, tensor);
  const int64_t begin = (*offsets)[0].get_int64();
  const int64_t end = (*offsets)[1].get_int64();
  if (begin < 0 || end < begin)
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has the data_offsets {} and {}", file, tensor, begin, end);
  if (static_cast<uint64_t>(end) > data_bytes)
    return fail(ErrorCode::corrupt, "{}: tensor '{}' ends beyond the file; the download is probably incomplete", file,
                tensor);
  return std::pair(static_cast<uint64_t>(begin), static_cast<uint64_t>(end));
}

Result<NamedTensor> parse_tensor(std::string_view name, const json::value& entry, std::span<const std::byte> data,
                                 uint64_t data_start, std::string_view file) {
  const json::object* object = entry.if_object();
  if (object == nullptr) return fail(ErrorCode::corrupt, "{}: tensor '{}' is not described by an object", file, name);
  const json::value* type = object->if_contains("dtype");
  if (type == nullptr || !type->is_string())
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has no dtype", file, name);
  const auto dtype = dtype_from_name(std::string_view(type->get_string()));
  if (!dtype)
    return fail(ErrorCode::unsupported, "{}: tensor '{}' has the dtype {}; Pagoda reads F32, F16 and BF16", file, name,
                std::string_view(type->get_string()));
  NamedTensor tensor;
  tensor.name = name;
  tensor.view.dtype = *dtype;
  PAGODA_TRY(tensor.view.shape, parse_shape(object->if_contains("shape"), file, name));
  PAGODA_TRY(const auto range, parse_offsets(object->if_contains("data_offsets"), data.size(), file, name));
  int64_t want = 0;
  if (__builtin_mul_overflow(tensor.view.shape.num_elements(), int64_t{info(*dtype).block_bytes}, &want) ||
      static_cast<uint64_t>(want) != range.second - range.first)
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has {} bytes for the shape {} of {}", file, name,
                range.second - range.first, tensor.view.shape.to_string(), to_string(*dtype));
  tensor.file_offset = data_start + range.first;
  tensor.view.data = data.subspan(range.first, range.second - range.first);
  return tensor;
}

}  // namespace

Result<SafetensorsContents> parse_safetensors(std::span<const std::byte> file, std::string_view name) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof header_bytes)
    return fail(ErrorCode::corrupt, "{}: is too short to be a safetensors file", name);
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - sizeof header_bytes)
    return fail(ErrorCode::corrupt,
                "{}: claims a header of {} bytes; it is no safetensors file, or the download is incomplete", name,
                header_bytes);
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + sizeof header_bytes,
                                static_cast<size_t>(header_bytes));
  boost::system::error_code error;
  const json::value root = json::parse(header, error);
  if (error || !root.is_object())
    return fail(ErrorCode::corrupt, "{}: its header is not a JSON object ({})", name,
                error ? error.message() : "another type");
  const uint64_t data_start = sizeof header_bytes + header_bytes;
  const auto data = file.subspan(static_cast<size_t>(data_start));

  SafetensorsContents contents;
  for (const auto& [key, entry] : root.get_object()) {
    if (key == "__metadata__") {
      if (!entry.is_object()) return fail(ErrorCode::corrupt, "{}: __metadata__ is not an object", name);
      for (const auto& [meta_key, meta_value] : entry.get_object())
        if (meta_value.is_string())
          contents.metadata.emplace(std::string(meta_key), std::string(meta_value.get_string()));
      continue;
    }
    PAGODA_TRY(NamedTensor tensor, parse_tensor(key, entry, data, data_start, name));
    contents.tensors.push_back(std::move(tensor));
  }
  std::ranges::sort(contents.tensors, {}, &NamedTensor::file_offset);
  return contents;
}

}  // namespace pagoda
