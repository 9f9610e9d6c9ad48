#include "cli/npy.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>

#include "base/check.h"
#include "io/quote.h"

static_assert(std::endian::native == std::endian::little, "npy files are written as memory has them");

namespace pagoda {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kPreambleBytes = 10;  // magic, version, length of the header in 16 bits
constexpr size_t kAlignment = 64;

std::string make_header(int64_t num_rows, int64_t num_cols) {
  std::string text =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", num_rows, num_cols);
  const size_t unpadded = kPreambleBytes + text.size() + 1;
  text.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string header(kMagic);
  header += '\x01';
  header += '\x00';
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

// What a header says of its array.
struct NpyHeader {
  std::string_view descr;
  std::string_view fortran_order;
  std::string_view shape;  // between its parentheses
};

// Reads the header, a Python dict on one line: {'descr': '<i4', 'fortran_order': False, 'shape': (2,), }
class HeaderReader {
 public:
  HeaderReader(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Result<NpyHeader> read() {
    NpyHeader header;
    if (!take('{')) return damaged();
    while (!take('}')) {
      const auto key = quoted();
      if (!key || !take(':')) return damaged();
      std::string_view* field = *key == "descr"           ? &header.descr
                                : *key == "fortran_order" ? &header.fortran_order
                                : *key == "shape"         ? &header.shape
                                                          : nullptr;
      if (field == nullptr || !field->empty())
        return fail(ErrorCode::corrupt, "{}: the .npy header has an unexpected field {}", file_, quote(*key));
      const auto value = *key == "descr" ? quoted() : *key == "shape" ? group() : word();
      if (!value)
        return fail(ErrorCode::unsupported, "{}: the .npy header's '{}' is not readable", file_, *key);
      *field = *value;
      take(',');
    }
    for (const auto& [name, value] :
         {std::pair{"descr", header.descr}, {"fortran_order", header.fortran_order}, {"shape", header.shape}})
      if (value.empty()) return fail(ErrorCode::corrupt, "{}: the .npy header has no '{}'", file_, name);
    return header;
  }

 private:
  std::unexpected<Error> damaged() const {
    return fail(ErrorCode::corrupt, "{}: the .npy header is damaged", file_);
  }
  void skip_spaces() { text_.remove_prefix(std::min(text_.find_first_not_of(" \n"), text_.size())); }
  bool take(char expected) {
    skip_spaces();
    if (!text_.starts_with(expected)) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::optional<std::string_view> up_to(char end) {
    const size_t size = text_.find(end);
    if (size == std::string_view::npos) return std::nullopt;
    const std::string_view found = text_.substr(0, size);
    text_.remove_prefix(size + 1);
    return found;
  }
  std::optional<std::string_view> quoted() { return take('\'') ? up_to('\'') : std::nullopt; }
  // With its closing parenthesis, so that it is not empty.
  std::optional<std::string_view> group() {
    if (!take('(')) return std::nullopt;
    const std::string_view rest = text_;
    const auto inner = up_to(')');
    return inner ? std::optional(rest.substr(0, inner->size() + 1)) : std::nullopt;
  }
  std::optional<std::string_view> word() {
    skip_spaces();
    const size_t size = std::min(text_.find_first_of(" ,}\n"), text_.size());
    const std::string_view found = text_.substr(0, size);
    text_.remove_prefix(size);
    return found.empty() ? std::nullopt : std::optional(found);
  }

  std::string_view text_;
  std::string_view file_;
};

// The number of elements of a shape "n,)" or "1, n)".
std::optional<uint64_t> count_elements(std::string_view shape) {
  std::vector<uint64_t> dims;
  while (true) {
    shape.remove_prefix(std::min(shape.find_first_not_of(' '), shape.size()));
    if (shape == ")") break;
    uint64_t dim = 0;
    const auto [end, error] = std::from_chars(shape.data(), shape.data() + shape.size(), dim);
    if (error != std::errc() || dims.size() == 2) return std::nullopt;
    dims.push_back(dim);
    shape.remove_prefix(static_cast<size_t>(end - shape.data()));
    if (shape.starts_with(',')) shape.remove_prefix(1);
  }
  if (dims.empty() || (dims.size() == 2 && dims[0] != 1)) return std::nullopt;
  return dims.back();
}

template <class Integer>
Result<std::vector<int32_t>> read_integers(std::string_view bytes, uint64_t count, std::string_view name) {
  if (count > bytes.size() / sizeof(Integer) || count * sizeof(Integer) != bytes.size())
    return fail(ErrorCode::corrupt,
                "{}: 'shape' says {} elements of {} bytes, but {} bytes follow the header", name, count,
                sizeof(Integer), bytes.size());
  std::vector<int32_t> ids;
  ids.reserve(static_cast<size_t>(count));
  for (size_t at = 0; at < bytes.size(); at += sizeof(Integer)) {
    Integer value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    if (value < 0 || value > std::numeric_limits<int32_t>::max())
      return fail(ErrorCode::corrupt, "{}: element {} is {}, which is no token id", name, ids.size(), value);
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

}  // namespace

Result<NpyWriter> NpyWriter::create(const std::string& path, int64_t num_rows, int64_t num_cols) {
  std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "wb"));
  if (!file) return fail(ErrorCode::io, "{}: cannot be written ({})", path, std::strerror(errno));
  const std::string header = make_header(num_rows, num_cols);
  if (std::fwrite(header.data(), 1, header.size(), file.get()) != header.size())
    return fail(ErrorCode::io, "{}: cannot be written ({})", path, std::strerror(errno));
  return NpyWriter(std::move(file), path, num_rows, num_cols);
}

NpyWriter::~NpyWriter() {
  if (file_ != nullptr) remove_file();
}

void NpyWriter::remove_file() const {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path_, ignored)) std::filesystem::remove(path_, ignored);
}

Status NpyWriter::write_row(std::span<const float> row) {
  PAGODA_CHECK(rows_left_ > 0 && static_cast<int64_t>(row.size()) == num_cols_, "{} rows left, {} values",
               rows_left_, row.size());
  --rows_left_;
  if (std::fwrite(row.data(), sizeof(float), row.size(), file_.get()) != row.size())
    return fail(ErrorCode::io, "{}: cannot be written ({})", path_, std::strerror(errno));
  return {};
}

Status NpyWriter::finish() {
  PAGODA_CHECK(rows_left_ == 0, "{} rows are missing", rows_left_);
  if (std::fclose(file_.release()) == 0) return {};
  const int error = errno;
  remove_file();
  return fail(ErrorCode::io, "{}: cannot be written ({})", path_, std::strerror(error));
}

bool is_npy(std::string_view bytes) {
  return bytes.starts_with(kMagic);
}

Result<std::vector<int32_t>> parse_npy_ids(std::string_view bytes, std::string_view name) {
  if (!is_npy(bytes) || bytes.size() < kPreambleBytes + 2)
    return fail(ErrorCode::corrupt, "{}: no complete .npy header", name);
  const auto byte = [&](size_t at) { return size_t{static_cast<unsigned char>(bytes[at])}; };
  const bool wide = byte(6) >= 2;  // versions 2 and 3 have a 32-bit length
  const size_t header_len =
      wide ? byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24 : byte(8) | byte(9) << 8;
  const size_t data_begin = (wide ? 12 : kPreambleBytes) + header_len;
  if (data_begin > bytes.size())
    return fail(ErrorCode::corrupt, "{}: the .npy header ends beyond the file", name);
  const size_t header_begin = wide ? 12 : kPreambleBytes;
  PAGODA_TRY(const NpyHeader header,
             HeaderReader(bytes.substr(header_begin, data_begin - header_begin), name).read());
  if (header.fortran_order != "False")
    return fail(ErrorCode::unsupported, "{}: 'fortran_order' is {}; it must be False", name,
                quote(header.fortran_order));
  const auto count = count_elements(header.shape);
  if (!count)
    return fail(ErrorCode::unsupported,
                "{}: 'shape' is {}; token ids must be an array of shape (n,) or (1, n)", name,
                quote("(" + std::string(header.shape)));
  const std::string_view data = bytes.substr(data_begin);
  if (header.descr == "<i4") return read_integers<int32_t>(data, *count, name);
  if (header.descr == "<i8") return read_integers<int64_t>(data, *count, name);
  return fail(ErrorCode::unsupported, "{}: 'descr' is {}; token ids must be int32 ('<i4') or int64 ('<i8')",
              name, quote(header.descr));
}

}  // namespace pagoda
