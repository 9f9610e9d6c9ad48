// NumPy's .npy files, version 1.0.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pagoda {

// Writes a float32 matrix row by row, so that it never lies in memory as a whole. A file that is not finished
// is removed.
class NpyWriter {
 public:
  NpyWriter(NpyWriter&&) noexcept = default;
  NpyWriter& operator=(NpyWriter&&) = delete;
  ~NpyWriter();
  static Result<NpyWriter> create(const std::string& path, int64_t num_rows, int64_t num_cols);
  Status write_row(std::span<const float> row);
  // Flushes and closes; an error if rows are missing or the disk is full.
  Status finish();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  NpyWriter(std::unique_ptr<std::FILE, Close> file, std::string path, int64_t num_rows, int64_t num_cols)
      : file_(std::move(file)), path_(std::move(path)), rows_left_(num_rows), num_cols_(num_cols) {}
  void remove_file() const;  // unless it is a device or a pipe

  std::unique_ptr<std::FILE, Close> file_;
  std::string path_;
  int64_t rows_left_;
  int64_t num_cols_;
};

// The elements of an array of little-endian int32 or int64 of shape (n,) or (1, n). Errors name the file, by
// `name`, and the field of its header.
Result<std::vector<int32_t>> parse_npy_ids(std::string_view bytes, std::string_view name);
bool is_npy(std::string_view bytes);

}  // namespace pagoda
