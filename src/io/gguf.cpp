// GGUF v2 and v3, little-endian. Layout: magic, version, tensor count, metadata count, metadata, tensor
// descriptions, padding to general.alignment, tensor data.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>

#include "io/memory_budget.h"
#include "io/model_file.h"
#include "io/quote.h"

namespace pagoda {

namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxStringBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxNameBytes = 65535;
constexpr uint64_t kMinValueBytes = 13;   // an empty key, a type, one byte
constexpr uint64_t kMinTensorBytes = 32;  // an empty name, one dimension, a type, an offset

enum class ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
constexpr uint32_t kNumValueTypes = 13;

// The fewest bytes that a value takes in the file; of a string or array that is its length.
size_t min_bytes(ValueType type) {
  switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean:
      return 1;
    case ValueType::u16:
    case ValueType::i16:
      return 2;
    case ValueType::u32:
    case ValueType::i32:
    case ValueType::f32:
      return 4;
    case ValueType::u64:
    case ValueType::i64:
    case ValueType::f64:
    case ValueType::string:
    case ValueType::array:
      break;
  }
  return 8;
}

bool is_integer(ValueType type) {
  return type != ValueType::f32 && type != ValueType::f64 && type != ValueType::boolean &&
         type != ValueType::string && type != ValueType::array;
}

// Reads forward; every read is checked against the end of the file, and what is kept against a budget.
class Reader {
 public:
  Reader(std::span<const std::byte> file, std::string_view name)
      : file_(file), name_(name), budget_(file.size()) {}

  size_t position() const { return position_; }
  size_t remaining() const { return file_.size() - position_; }
  std::string_view name() const { return name_; }

  std::unexpected<Error> truncated(std::string_view field) const {
    return fail(ErrorCode::corrupt,
                "{}: ends inside {} (at byte {} of {}); the download is probably incomplete", name_, field,
                position_, file_.size());
  }

  template <class T>
  Result<T> read(std::string_view field) {
    if (remaining() < sizeof(T)) return truncated(field);
    T value;
    std::memcpy(&value, file_.data() + position_, sizeof value);
    position_ += sizeof value;
    return value;
  }

  Status keep(uint64_t num_bytes, std::string_view field) {
    if (budget_.take(num_bytes)) return {};
    return fail(ErrorCode::corrupt, "{}: with {}, its metadata is larger than a file of {} bytes can need",
                name_, field, file_.size());
  }

  // A view into the file.
  Result<std::string_view> read_string(std::string_view field, uint64_t max_bytes = kMaxStringBytes) {
    PAGODA_TRY(const uint64_t length, read<uint64_t>(field));
    if (length > max_bytes)
      return fail(ErrorCode::corrupt, "{}: {} claims {} bytes of text; at most {} are possible", name_, field,
                  length, max_bytes);
    if (length > remaining()) return truncated(field);
    const std::string_view text(reinterpret_cast<const char*>(file_.data() + position_),
                                static_cast<size_t>(length));
    position_ += static_cast<size_t>(length);
    return text;
  }
  // The same, kept.
  Result<std::string> read_text(std::string_view field, uint64_t max_bytes = kMaxStringBytes) {
    PAGODA_TRY(const std::string_view text, read_string(field, max_bytes));
    PAGODA_TRY_STATUS(keep(text.size(), field));
    return std::string(text);
  }

 private:
  std::span<const std::byte> file_;
  std::string_view name_;
  size_t position_ = 0;
  MemoryBudget budget_;
};

Result<int64_t> read_integer(Reader& reader, ValueType type, std::string_view field) {
  switch (type) {
    case ValueType::u8:
      return reader.read<uint8_t>(field);
    case ValueType::i8:
      return reader.read<int8_t>(field);
    case ValueType::u16:
      return reader.read<uint16_t>(field);
    case ValueType::i16:
      return reader.read<int16_t>(field);
    case ValueType::u32:
      return reader.read<uint32_t>(field);
    case ValueType::i32:
      return reader.read<int32_t>(field);
    case ValueType::i64:
      return reader.read<int64_t>(field);
    default:
      break;
  }
  PAGODA_TRY(const uint64_t value, reader.read<uint64_t>(field));
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return fail(ErrorCode::corrupt, "{}: {} is {}, beyond any sensible value", reader.name(), field, value);
  return static_cast<int64_t>(value);
}

Result<double> read_float(Reader& reader, ValueType type, std::string_view field) {
  if (type == ValueType::f64) return reader.read<double>(field);
  PAGODA_TRY(const float value, reader.read<float>(field));
  return value;
}

Result<bool> read_bool(Reader& reader, std::string_view field) {
  PAGODA_TRY(const uint8_t value, reader.read<uint8_t>(field));
  return value != 0;
}

Result<ValueType> read_type(Reader& reader, std::string_view field) {
  PAGODA_TRY(const uint32_t type, reader.read<uint32_t>(field));
  if (type >= kNumValueTypes)
    return fail(ErrorCode::corrupt, "{}: {} has the unknown value type {}", reader.name(), field, type);
  return static_cast<ValueType>(type);
}

template <class T, class ReadOne>
Result<MetaValue> read_elements(Reader& reader, uint64_t count, std::string_view field, ReadOne&& read_one) {
  PAGODA_TRY_STATUS(reader.keep(count * sizeof(T), field));
  std::vector<T> values;
  values.reserve(static_cast<size_t>(count));
  for (uint64_t i = 0; i < count; ++i) {
    PAGODA_TRY(T value, read_one());
    values.push_back(std::move(value));
  }
  return MetaValue(std::move(values));
}

Result<MetaValue> read_array(Reader& reader, std::string_view field) {
  PAGODA_TRY(const ValueType type, read_type(reader, field));
  PAGODA_TRY(const uint64_t count, reader.read<uint64_t>(field));
  if (type == ValueType::array)
    return fail(ErrorCode::unsupported, "{}: {} is an array of arrays", reader.name(), field);
  if (count > reader.remaining() / min_bytes(type))
    return fail(ErrorCode::corrupt, "{}: {} claims {} elements, more than the file can hold", reader.name(),
                field, count);
  if (type == ValueType::string)
    return read_elements<std::string_view>(reader, count, field, [&] { return reader.read_string(field); });
  if (type == ValueType::boolean)
    return read_elements<bool>(reader, count, field, [&] { return read_bool(reader, field); });
  if (is_integer(type))
    return read_elements<int64_t>(reader, count, field, [&] { return read_integer(reader, type, field); });
  return read_elements<double>(reader, count, field, [&] { return read_float(reader, type, field); });
}

Result<MetaValue> read_value(Reader& reader, std::string_view field) {
  PAGODA_TRY(const ValueType type, read_type(reader, field));
  if (type == ValueType::array) return read_array(reader, field);
  if (type == ValueType::string) {
    PAGODA_TRY(std::string text, reader.read_text(field));
    return MetaValue(std::move(text));
  }
  if (type == ValueType::boolean) {
    PAGODA_TRY(const bool value, read_bool(reader, field));
    return MetaValue(value);
  }
  if (is_integer(type)) {
    PAGODA_TRY(const int64_t value, read_integer(reader, type, field));
    return MetaValue(value);
  }
  PAGODA_TRY(const double value, read_float(reader, type, field));
  return MetaValue(value);
}

Status read_metadata(Reader& reader, uint64_t count, Metadata& metadata) {
  for (uint64_t i = 0; i < count; ++i) {
    PAGODA_TRY(std::string key, reader.read_text("a metadata key", kMaxNameBytes));
    const std::string field = "metadata " + quote(key);
    PAGODA_TRY_STATUS(reader.keep(MemoryBudget::kMapEntryBytes, field));
    PAGODA_TRY(MetaValue value, read_value(reader, field));
    if (!metadata.emplace(std::move(key), std::move(value)).second)
      return fail(ErrorCode::corrupt, "{}: {} stands in the file twice", reader.name(), field);
  }
  return {};
}

Result<Shape> read_shape(Reader& reader, std::string_view field) {
  PAGODA_TRY(const uint32_t rank, reader.read<uint32_t>(field));
  if (rank < 1 || rank > static_cast<uint32_t>(Shape::kMaxRank))
    return fail(ErrorCode::corrupt, "{}: {} has {} dimensions (1 to 4 are possible)", reader.name(), field,
                rank);
  Shape shape;
  shape.rank = static_cast<int>(rank);
  int64_t num_elements = 1;
  for (uint32_t axis = 0; axis < rank; ++axis) {
    PAGODA_TRY(const int64_t dim, reader.read<int64_t>(field));
    if (dim < 1 || __builtin_mul_overflow(num_elements, dim, &num_elements))
      return fail(ErrorCode::corrupt, "{}: {} has an impossible size", reader.name(), field);
    shape.dims[rank - 1 - axis] = dim;  // the file stores the innermost dimension first
  }
  return shape;
}

// A tensor's description; its file_offset still counts from the start of the data, which is not known yet.
struct TensorDescription {
  NamedTensor tensor;
  uint64_t num_bytes = 0;
};

Result<TensorDescription> read_tensor(Reader& reader) {
  TensorDescription result;
  NamedTensor& tensor = result.tensor;
  PAGODA_TRY(tensor.name, reader.read_text("a tensor's name", kMaxNameBytes));
  const std::string field = "tensor " + quote(tensor.name);
  PAGODA_TRY_STATUS(reader.keep(MemoryBudget::kTensorBytes + 2 * tensor.name.size(), field));
  PAGODA_TRY(tensor.view.shape, read_shape(reader, field));
  PAGODA_TRY(const uint32_t type_id, reader.read<uint32_t>(field));
  const auto dtype = dtype_from_ggml_id(type_id);
  if (!dtype)
    return fail(ErrorCode::unsupported, "{}: {} is stored in GGUF type {}, which Pagoda does not read",
                reader.name(), field, type_id);
  tensor.view.dtype = *dtype;
  const DTypeInfo& type = info(*dtype);
  if (tensor.view.num_cols() % type.block_len != 0)
    return fail(ErrorCode::corrupt, "{}: {} has rows of {} elements, not whole blocks of {}", reader.name(),
                field, tensor.view.num_cols(), type.name);
  const auto num_blocks = static_cast<uint64_t>(tensor.view.shape.num_elements()) / type.block_len;
  if (__builtin_mul_overflow(num_blocks, uint64_t{type.block_bytes}, &result.num_bytes))
    return fail(ErrorCode::corrupt, "{}: {} has an impossible size", reader.name(), field);
  PAGODA_TRY(tensor.file_offset, reader.read<uint64_t>(field));
  return result;
}

Result<uint64_t> find_alignment(const Metadata& metadata, std::string_view name) {
  const auto it = metadata.find("general.alignment");
  if (it == metadata.end()) return uint64_t{32};
  const auto* value = std::get_if<int64_t>(&it->second);
  if (value == nullptr || *value < 1 || *value > (1 << 20) ||
      !std::has_single_bit(static_cast<uint64_t>(*value)))
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
    return fail(ErrorCode::unsupported, "{}: is GGUF version {}; Pagoda reads versions 2 and 3",
                reader.name(), contents.version);
  return {};
}

// Turns an offset into the data, which starts at data_start, into the tensor's place in the file.
Status place_tensor(std::span<const std::byte> file, std::string_view name, uint64_t data_start,
                    uint64_t alignment, uint64_t num_bytes, NamedTensor& tensor) {
  if (tensor.file_offset % alignment != 0)
    return fail(ErrorCode::corrupt, "{}: tensor {} starts at offset {}, which is not aligned to {}", name,
                quote(tensor.name), tensor.file_offset, alignment);
  uint64_t begin = 0;
  uint64_t end = 0;
  if (__builtin_add_overflow(data_start, tensor.file_offset, &begin) ||
      __builtin_add_overflow(begin, num_bytes, &end) || end > file.size())
    return fail(ErrorCode::corrupt,
                "{}: tensor {} ends beyond the file of {} bytes; the download is probably incomplete", name,
                quote(tensor.name), file.size());
  tensor.file_offset = begin;
  tensor.view.data = file.subspan(static_cast<size_t>(begin), static_cast<size_t>(num_bytes));
  return {};
}

}  // namespace

Result<GgufContents> parse_gguf(std::span<const std::byte> file, std::string_view name) {
  Reader reader(file, name);
  GgufContents contents;
  PAGODA_TRY_STATUS(check_header(reader, contents));
  PAGODA_TRY(const uint64_t num_tensors, reader.read<uint64_t>("the number of tensors"));
  PAGODA_TRY(const uint64_t num_values, reader.read<uint64_t>("the number of metadata values"));
  if (num_values > reader.remaining() / kMinValueBytes || num_tensors > reader.remaining() / kMinTensorBytes)
    return fail(ErrorCode::corrupt,
                "{}: claims {} metadata values and {} tensors, more than the file can hold; the download is "
                "probably incomplete",
                name, num_values, num_tensors);
  PAGODA_TRY_STATUS(read_metadata(reader, num_values, contents.metadata));
  PAGODA_TRY(const uint64_t alignment, find_alignment(contents.metadata, name));

  std::vector<uint64_t> sizes;
  std::set<std::string, std::less<>> names;
  for (uint64_t i = 0; i < num_tensors; ++i) {
    PAGODA_TRY(TensorDescription description, read_tensor(reader));
    if (!names.insert(description.tensor.name).second)
      return fail(ErrorCode::corrupt, "{}: tensor {} stands in the file twice", name,
                  quote(description.tensor.name));
    sizes.push_back(description.num_bytes);
    contents.tensors.push_back(std::move(description.tensor));
  }
  const uint64_t data_start = (reader.position() + alignment - 1) / alignment * alignment;
  for (size_t i = 0; i < contents.tensors.size(); ++i)
    PAGODA_TRY_STATUS(place_tensor(file, name, data_start, alignment, sizes[i], contents.tensors[i]));
  return contents;
}

}  // namespace pagoda
