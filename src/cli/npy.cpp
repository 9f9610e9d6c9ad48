#include "cli/npy.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/check.h"

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

template <class Integer>
Result<std::vector<int32_t>> read_integers(std::string_view bytes, std::string_view name) {
  if (bytes.size() % sizeof(Integer) != 0)
    return fail(ErrorCode::corrupt, "{}: the array's bytes are no multiple of its element size", name);
  std::vector<int32_t> ids;
  ids.reserve(bytes.size() / sizeof(Integer));
  for (size_t at = 0; at < bytes.size(); at += sizeof(Integer)) {
    Integer value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    if (value < 0 || value > std::numeric_limits<int32_t>::max())
      return fail(ErrorCode::corrupt, "{}: {} is no token id", name, value);
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
  if (std::fclose(file_.release()) != 0)
    return fail(ErrorCode::io, "{}: cannot be written ({})", path_, std::strerror(errno));
  return {};
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
  const std::string_view header = bytes.substr(0, data_begin);
  const std::string_view data = bytes.substr(data_begin);
  if (header.find("'<i4'") != std::string_view::npos) return read_integers<int32_t>(data, name);
  if (header.find("'<i8'") != std::string_view::npos) return read_integers<int64_t>(data, name);
  return fail(ErrorCode::unsupported, "{}: token ids must be an array of int32 or int64", name);
}

}  // namespace pagoda
