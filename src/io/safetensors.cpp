// safetensors: a 64-bit length, a JSON header {name: {dtype, shape, data_offsets}}, tensor data.
#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "io/json_walk.h"
#include "io/memory_budget.h"
#include "io/model_file.h"
#include "io/quote.h"

namespace pagoda {

namespace {

constexpr uint64_t kMaxHeaderBytes = uint64_t{100} << 20;
constexpr std::string_view kMetadataKey = "__metadata__";

std::optional<DType> dtype_from_name(std::string_view name) {
  if (name == "F32") return DType::f32;
  if (name == "F16") return DType::f16;
  if (name == "BF16") return DType::bf16;
  return std::nullopt;
}

// Collects the tensors of a header, each checked when its object ends.
class HeaderVisitor final : public JsonVisitor {
 public:
  // `data`: what follows the header, from data_start bytes into the file.
  HeaderVisitor(std::string_view file, std::span<const std::byte> data, uint64_t data_start)
      : file_(file), data_(data), data_start_(data_start), budget_(data_start + data.size()) {}

  SafetensorsContents take() { return std::move(contents_); }

  Status on_begin(JsonContainer kind, JsonPath path) override {
    if (path.size() <= 1 && kind != JsonContainer::object) return no_object(path);
    if (path.size() == 1) return begin_entry(path[0]);
    if (path.size() == 2 && is_number_list(path)) {
      if (kind == JsonContainer::array) return mark_seen(path);
      return no_numbers(path);
    }
    if (path.size() == 3 && is_number_list(path)) return no_numbers(path);
    return {};
  }

  Status on_end(JsonPath path) override {
    if (path.size() != 1 || path[0] == kMetadataKey) return {};
    return finish_tensor(path[0]);
  }

  Status on_scalar(const JsonScalar& value, JsonPath path) override {
    if (path.size() <= 1) return no_object(path);
    if (path[0] == kMetadataKey) {
      if (const auto* text = std::get_if<std::string_view>(&value); text != nullptr && path.size() == 2)
        return add_metadata(path[1], *text);
      return {};
    }
    if (path.size() == 2 && path[1] == "dtype") {
      PAGODA_TRY_STATUS(mark_seen(path));
      return set_dtype(value, path[0]);
    }
    if (!is_number_list(path)) return {};
    const auto* number = std::get_if<int64_t>(&value);
    if (number == nullptr || path.size() != 3) return no_numbers(path);
    return add_number(*number, path);
  }

 private:
  // The tensor whose object is being read.
  struct Entry {
    std::set<std::string, std::less<>> seen;  // of the known fields
    std::optional<DType> dtype;
    std::string unread_dtype;  // quoted, if dtype is none
    Shape shape;
    uint64_t offsets[2] = {};
    int num_offsets = 0;
  };

  static bool is_number_list(JsonPath path) {
    return path[0] != kMetadataKey && (path[1] == "shape" || path[1] == "data_offsets");
  }
  std::unexpected<Error> no_object(JsonPath path) const {
    if (path.empty()) return fail(ErrorCode::corrupt, "{}: its header is not a JSON object", file_);
    return fail(ErrorCode::corrupt, "{}: {} is not described by an object", file_, quote(path[0]));
  }
  std::unexpected<Error> no_numbers(JsonPath path) const {
    return fail(ErrorCode::corrupt, "{}: the {} of tensor {} is not a list of integers", file_, path[1],
                quote(path[0]));
  }
  std::unexpected<Error> impossible(std::string_view field, std::string_view tensor) const {
    return fail(ErrorCode::corrupt, "{}: tensor {} has an impossible {}", file_, quote(tensor), field);
  }

  std::unexpected<Error> too_large() const {
    return fail(ErrorCode::corrupt, "{}: its header describes more than a file of {} bytes can need", file_,
                data_start_ + data_.size());
  }

  Status add_metadata(const std::string& key, std::string_view value) {
    if (!budget_.take(MemoryBudget::kMapEntryBytes + key.size() + value.size())) return too_large();
    contents_.metadata.insert_or_assign(key, std::string(value));
    return {};
  }
  Status begin_entry(const std::string& name) {
    if (!budget_.take(MemoryBudget::kTensorBytes + 3 * name.size())) return too_large();
    entry_ = Entry();
    if (!names_.insert(name).second)
      return fail(ErrorCode::corrupt, "{}: {} stands in the header twice", file_, quote(name));
    return {};
  }
  Status mark_seen(JsonPath path) {
    if (entry_.seen.insert(path[1]).second) return {};
    return fail(ErrorCode::corrupt, "{}: tensor {} has two values of {}", file_, quote(path[0]), path[1]);
  }
  Status set_dtype(const JsonScalar& value, std::string_view tensor) {
    const auto* name = std::get_if<std::string_view>(&value);
    if (name == nullptr) return impossible("dtype", tensor);
    entry_.dtype = dtype_from_name(*name);
    if (entry_.dtype) return {};
    entry_.unread_dtype = quote(*name);
    return budget_.take(entry_.unread_dtype.size()) ? Status() : too_large();
  }
  Status add_number(int64_t number, JsonPath path) {
    if (path[1] == "shape") {
      if (number < 1 || entry_.shape.rank == Shape::kMaxRank) return impossible("shape", path[0]);
      entry_.shape.dims[entry_.shape.rank++] = number;
    } else {
      if (number < 0 || entry_.num_offsets == 2) return impossible("data_offsets", path[0]);
      entry_.offsets[entry_.num_offsets++] = static_cast<uint64_t>(number);
    }
    return {};
  }
  Status finish_tensor(const std::string& name);

  std::string_view file_;
  std::span<const std::byte> data_;
  uint64_t data_start_;
  MemoryBudget budget_;
  Entry entry_;
  std::set<std::string, std::less<>> names_;
  SafetensorsContents contents_;
};

Status HeaderVisitor::finish_tensor(const std::string& name) {
  for (const char* field : {"dtype", "shape", "data_offsets"})
    if (!entry_.seen.contains(std::string_view(field)))
      return fail(ErrorCode::corrupt, "{}: tensor {} has no {}", file_, quote(name), field);
  const auto [begin, end] = entry_.offsets;
  if (entry_.num_offsets != 2 || begin > end) return impossible("data_offsets", name);
  if (end > data_.size())
    return fail(ErrorCode::corrupt, "{}: tensor {} ends beyond the file; the download is probably incomplete",
                file_, quote(name));
  if (!entry_.dtype) {
    contents_.unread.push_back({.name = name, .dtype = std::move(entry_.unread_dtype)});
    return {};
  }
  uint64_t num_bytes = info(*entry_.dtype).block_bytes;
  for (int axis = 0; axis < entry_.shape.rank; ++axis)
    if (__builtin_mul_overflow(num_bytes, static_cast<uint64_t>(entry_.shape[axis]), &num_bytes))
      return impossible("shape", name);
  if (num_bytes != end - begin)
    return fail(ErrorCode::corrupt, "{}: tensor {} has {} bytes, but {} of {} takes {}", file_, quote(name),
                end - begin, entry_.shape.to_string(), to_string(*entry_.dtype), num_bytes);
  NamedTensor& tensor = contents_.tensors.emplace_back();
  tensor.name = name;
  tensor.view = {*entry_.dtype, entry_.shape, data_.subspan(begin, num_bytes)};
  tensor.file_offset = data_start_ + begin;
  return {};
}

}  // namespace

Result<SafetensorsContents> parse_safetensors(std::span<const std::byte> file, std::string_view name) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof header_bytes)
    return fail(ErrorCode::corrupt, "{}: is too short to be a safetensors file", name);
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - sizeof header_bytes)
    return fail(ErrorCode::corrupt,
                "{}: claims a header of {} bytes; it is no safetensors file, or the download is incomplete",
                name, header_bytes);
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + sizeof header_bytes,
                                static_cast<size_t>(header_bytes));
  const uint64_t data_start = sizeof header_bytes + header_bytes;
  HeaderVisitor visitor(name, file.subspan(static_cast<size_t>(data_start)), data_start);
  PAGODA_TRY_STATUS(walk_json(header, fmt::format("{}: the header", name), visitor));
  SafetensorsContents contents = visitor.take();
  std::ranges::sort(contents.tensors, {}, &NamedTensor::file_offset);
  return contents;
}

}  // namespace pagoda
