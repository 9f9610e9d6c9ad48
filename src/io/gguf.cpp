// GGUF v2 and v3, little-endian. Layout: magic, version, tensor count, metadata count, metadata, tensor descriptions,
// padding to general.alignment, tensor data.
#include <bit>
#include <cstring>
#include <limits>
#include <set>

#include "io/model_file.h"

namespace pagoda {

namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxStringBytes = uint64_t{1} << 30;

enum class ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
constexpr uint32_t kNumValueTypes = 13;

size_t scalar_bytes(ValueType type) {
  switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean: return 1;
    case ValueType::u16:
    case ValueType::i16: return 2;
    case ValueType::u32:
    case ValueType::i32:
    case ValueType::f32: return 4;
    case ValueType::u64:
    case ValueType::i64:
    case ValueType::f64: return 8;
    case ValueType::string:
    case ValueType::array: return 8;  // at least: a length
  }
  return 8;
}

bool is_integer(ValueType type) {
  return type != ValueType::f32 && type != ValueType::f64 && type != ValueType::boolean &&
         type != ValueType::string && type != ValueType::array;
}

// Reads forward; every read is checked against the end of the file.
class Reader {
 public:
  Reader(std::span<const std::byte> file, std::string_view name) : file_(file), name_(name) {}

  size_t position() const { return position_; }
  size_t remaining() const { return file_.size() - position_; }
  std::string_view name() const { return name_; }

  std::unexpected<Error> truncated(std::string_view field) const {
    return fail(ErrorCode::corrupt, "{}: ends inside {} (at byte {} of {}); the download is probably incomplete", name_,
                field, position_, file_.size());
  }

  template <class T>
  Result<T> read(std::string_view field) {
    if (remaining() < sizeof(T)) return truncated(field);
    T value;
    std::memcpy(&value, file_.data() + position_, sizeof value);
    position_ += sizeof value;
    return value;
  }

  Result<std::string> read_string(std::string_view field) {
    PAGODA_TRY(const uint64_t length, read<uint64_t>(field));
    if (length > kMaxStringBytes)
      return fail(ErrorCode::corrupt, "{}: {} claims a string of {} bytes", name_, field, length);
    if (length > remaining()) return truncated(field);
    std::string text(reinterpret_cast<const char*>(file_.data() + position_), static_cast<size_t>(length));
    position_ += static_cast<size_t>(length);
    return text;
  }

 private:
  std::span<const std::byte> file_;
  std::string_view name_;
  size_t position_ = 0;
};

Result<int64_t> read_integer(Reader& reader, ValueType type, std::string_view key) {
  switch (type) {
    case ValueType::u8: return reader.read<uint8_t>(key);
    case ValueType::i8: return reader.read<int8_t>(key);
    case ValueType::u16: return reader.read<uint16_t>(key);
    case ValueType::i16: return reader.read<int16_t>(key);
    case ValueType::u32: return reader.read<uint32_t>(key);
    case ValueType::i32: return reader.read<int32_t>(key);
    case ValueType::i64: return reader.read<int64_t>(key);
    default: break;
  }
  PAGODA_TRY(const uint64_t value, reader.read<uint64_t>(key));
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return fail(ErrorCode::corrupt, "{}: metadata '{}' is {}, beyond any sensible value", reader.name(), key, value);
  return static_cast<int64_t>(value);
}

Result<double> read_float(Reader& reader, ValueType type, std::string_view key) {
  if (type == ValueType::f64) return reader.read<double>(key);
  PAGODA_TRY(const float value, reader.read<float>(key));
  return value;
}

Result<bool> read_bool(Reader& reader, std::string_view key) {
  PAGODA_TRY(const uint8_t value, reader.read<uint8_t>(key));
  return value != 0;
}

Result<ValueType> read_type(Reader& reader, std::string_view key) {
  PAGODA_TRY(const uint32_t type, reader.read<uint32_t>(key));
  if (type >= kNumValueTypes)
    return fail(ErrorCode::corrupt, "{}: metadata '{}' has the unknown value type {}", reader.name(), key, type);
  return static_cast<ValueType>(type);
}

template <class T, class ReadOne>
Result<MetaValue> read_elements(uint64_t count, ReadOne&& read_one) {
  std::vector<T> values;
  values.reserve(static_cast<size_t>(count));
  for (uint64_t i = 0; i < count; ++i) {
    PAGODA_TRY(T value, read_one());
    values.push_back(std::move(value));
  }
  return MetaValue(std::move(values));
}

Result<MetaValue> read_array(Reader& reader, std::string_view key) {
  PAGODA_TRY(const ValueType type, read_type(reader, key));
  PAGODA_TRY(const uint64_t count, reader.read<uint64_t>(key));
  if (type == ValueType::array)
    return fail(ErrorCode::unsupported, "{}: metadata '{}' is an array of arrays", reader.name(), key);
  if (count > reader.remaining() / scalar_bytes(type))
    return fail(ErrorCode::corrupt, "{}: metadata '{}' claims {} elements, more than the file can hold",
                reader.name(), key, count);
  if (type == ValueType::string) return read_elements<std::string>(count, [&] { return reader.read_string(key); });
  if (type == ValueType::boolean) return read_elements<bool>(count, [&] { return read_bool(reader, key); });
  if (is_integer(type)) return read_elements<int64_t>(count, [&] { return read_integer(reader, type, key); });
  return read_elements<double>(count, [&] { return read_float(reader, type, key); });
}

Result<MetaValue> read_value(Reader& reader, std::string_view key) {
  PAGODA_TRY(const ValueType type, read_type(reader, key));
  if (type == ValueType::array) return read_array(reader, key);
  if (type == ValueType::string) {
    PAGODA_TRY(std::string text, reader.read_string(key));
    return MetaValue(std::move(text));
  }
  if (type == ValueType::boolean) {
    PAGODA_TRY(const bool value, read_bool(reader, key));
    return MetaValue(value);
  }
  if (is_integer(type)) {
    PAGODA_TRY(const int64_t value, read_integer(reader, type, key));
    return MetaValue(value);
  }
  PAGODA_TRY(const double value, read_float(reader, type, key));
  return MetaValue(value);
}

Status read_metadata(Reader& reader, uint64_t count, Metadata& metadata) {
  for (uint64_t i = 0; i < count; ++i) {
    PAGODA_TRY(std::string key, reader.read_string("a metadata key"));
    PAGODA_TRY(MetaValue value, read_value(reader, key));
    if (!metadata.emplace(key, std::move(value)).second)
      return fail(ErrorCode::corrupt, "{}: metadata '{}' stands in the file twice", reader.name(), key);
  }
  return {};
}

Result<Shape> read_shape(Reader& reader, const std::string& tensor) {
  PAGODA_TRY(const uint32_t rank, reader.read<uint32_t>(tensor));
  if (rank < 1 || rank > static_cast<uint32_t>(Shape::kMaxRank))
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has {} dimensions (1 to 4 are possible)", reader.name(), tensor,
                rank);
  Shape shape;
  shape.rank = static_cast<int>(rank);
  uint64_t num_elements = 1;
  for (uint32_t axis = 0; axis < rank; ++axis) {
    PAGODA_TRY(const uint64_t dim, reader.read<uint64_t>(tensor));
    if (dim == 0 || __builtin_mul_overflow(num_elements, dim, &num_elements) ||
        num_elements > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return fail(ErrorCode::corrupt, "{}: tensor '{}' has an impossible size", reader.name(), tensor);
    shape.dims[rank - 1 - axis] = static_cast<int64_t>(dim);  // the file stores the innermost dimension first
  }
  return shape;
}

struct TensorDescription {
  NamedTensor tensor;
  uint64_t num_bytes = 0;
};

Result<TensorDescription> read_tensor(Reader& reader) {
  TensorDescription result;
  NamedTensor& tensor = result.tensor;
  PAGODA_TRY(tensor.name, reader.read_string("a tensor's name"));
  PAGODA_TRY(tensor.view.shape, read_shape(reader, tensor.name));
  PAGODA_TRY(const uint32_t type_id, reader.read<uint32_t>(tensor.name));
  const auto dtype = dtype_from_ggml_id(type_id);
  if (!dtype)
    return fail(ErrorCode::unsupported, "{}: tensor '{}' is stored in GGUF type {}, which Pagoda does not read",
                reader.name(), tensor.name, type_id);
  tensor.view.dtype = *dtype;
  const DTypeInfo& type = info(*dtype);
  const auto num_elements = static_cast<uint64_t>(tensor.view.shape.num_elements());
  if (static_cast<uint64_t>(tensor.view.num_cols()) % type.block_len != 0)
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has rows of {} elements, not whole blocks of {}", reader.name(),
                tensor.name, tensor.view.num_cols(), type.name);
  if (__builtin_mul_overflow(num_elements / type.block_len, uint64_t{type.block_bytes}, &result.num_bytes))
    return fail(ErrorCode::corrupt, "{}: tensor '{}' has an impossible size", reader.name(), tensor.name);
  PAGODA_TRY(tensor.file_offset, reader.read<uint64_t>(tensor.name));
  return result;
}

Result<uint64_t> find_alignment(const Metadata& metadata, std::string_view name) {
  const auto it = metadata.find("general.alignment");
  if (it == metadata.end()) return uint64_t{32};
  const auto* value = std::get_if<int64_t>(&it->second);
  if (value == nullptr || *value < 1 || *value > (1 << 20) || !std::has_single_bit(static_cast<uint64_t>(*value)))
    return fail(ErrorCode::corrupt, "{}: general.alignment is not a power of two up to 1 MiB", name);
  return static_cast<uint64_t>(*value);
}

Status check_header(Reader& reader, GgufContents& contents) {
  PAGODA_TRY(const uint32_t magic, reader.read<uint32_t>("the magic number"));
  if (magic == std::byteswap(kMagic))
    return fail(ErrorCode::unsupported, "{}: is a big-endian GGUF file; Pagoda reads little-endian ones",
                reader.name());
  if (magic != kMagic)
    return fail(ErrorCode::corrupt,
                "{}: is not a GGUF file (it does not start with 'GGUF'); is it a web page or another format?",
                reader.name());
  PAGODA_TRY(contents.version, reader.read<uint32_t>("the version"));
  if (contents.version == 0x02000000 || contents.version == 0x03000000)
    return fail(ErrorCode::unsupported, "{}: is a big-endian GGUF file; Pagoda reads little-endian ones",
                reader.name());
  if (contents.version != 2 && contents.version != 3)
    return fail(ErrorCode::unsupported, "{}: is GGUF version {}; Pagoda reads versions 2 and 3", reader.name(),
                contents.version);
  return {};
}

}  // namespace

Result<GgufContents> parse_gguf(std::span<const std::byte> file, std::string_view name) {
  Reader reader(file, name);
  GgufContents contents;
  PAGODA_TRY_STATUS(check_header(reader, contents));
  PAGODA_TRY(const uint64_t num_tensors, reader.read<uint64_t>("the number of tensors"));
  PAGODA_TRY(const uint64_t num_values, reader.read<uint64_t>("the number of metadata values"));
  // The smallest metadata entry takes 13 bytes, the smallest tensor description 32.
  if (num_values > reader.remaining() / 13 || num_tensors > reader.remaining() / 32)
    return fail(ErrorCode::corrupt, "{}: claims {} metadata values and {} tensors, more than the file can hold", name,
                num_values, num_tensors);
  PAGODA_TRY_STATUS(read_metadata(reader, num_values, contents.metadata));
  PAGODA_TRY(const uint64_t alignment, find_alignment(contents.metadata, name));

  std::vector<uint64_t> sizes;
  std::set<std::string_view> names;
  contents.tensors.reserve(static_cast<size_t>(std::min<uint64_t>(num_tensors, reader.remaining() / 32)));
  for (uint64_t i = 0; i < num_tensors; ++i) {
    PAGODA_TRY(TensorDescription description, read_tensor(reader));
    contents.tensors.push_back(std::move(description.tensor));
    sizes.push_back(description.num_bytes);
  }
  for (const NamedTensor& tensor : contents.tensors)
    if (!names.insert(tensor.name).second)
      return fail(ErrorCode::corrupt, "{}: tensor '{}' stands in the file twice", name, tensor.name);

  const uint64_t data_start = (reader.position() + alignment - 1) / alignment * alignment;
  for (size_t i = 0; i < contents.tensors.size(); ++i) {
    NamedTensor& tensor = contents.tensors[i];
    if (tensor.file_offset % alignment != 0)
      return fail(ErrorCode::corrupt, "{}: tensor '{}' starts at offset {}, which is not aligned to {}", name,
                  tensor.name, tensor.file_offset, alignment);
    uint64_t begin = 0;
    uint64_t end = 0;
    if (__builtin_add_overflow(data_start, tensor.file_offset, &begin) ||
        __builtin_add_overflow(begin, sizes[i], &end) || end > file.size())
      return fail(ErrorCode::corrupt,
                  "{}: tensor '{}' ends beyond the file of {} bytes; the download is probably incomplete", name,
                  tensor.name, file.size());
    tensor.file_offset = begin;
    tensor.view.data = file.subspan(static_cast<size_t>(begin), static_cast<size_t>(sizes[i]));
  }
  return contents;
}

}  // namespace pagoda
