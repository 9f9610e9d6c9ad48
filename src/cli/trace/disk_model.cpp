#include "cli/trace/disk_model.h"

#include <algorithm>

#include <boost/json.hpp>

#include "cli/json.h"

namespace pagoda {

namespace {

namespace json = boost::json;

Result<double> read_positive(const json::object& line, std::string_view name) {
  const json::value* value = line.if_contains(name);
  if (!value || !value->is_number() || value->to_number<double>() <= 0)
    return fail(ErrorCode::invalid_argument, "'{}' must be a number above 0", name);
  return value->to_number<double>();
}

// Lines of `bench kv-disk`, of which the first says which ones count.
class Reader {
 public:
  Status read_line(std::string_view text) {
    PAGODA_TRY(const json::object line, json_object_of(text));
    const json::value* direction = line.if_contains("direction");
    const json::value* io = line.if_contains("io");
    if (!direction || !io) return {};
    if (io_.is_null()) io_ = *io;
    if (*io != io_) return {};
    const bool is_write = *direction == "write";
    PAGODA_TRY((is_write ? model_.write : model_.read), read_way(line));
    PAGODA_TRY(const double page_bytes, read_positive(line, "page_bytes"));
    PAGODA_TRY(const double queue_depth, read_positive(line, "queue_depth"));
    model_.page_bytes = static_cast<uint64_t>(page_bytes);
    model_.queue_depth = static_cast<int>(queue_depth);
    return {};
  }

  Result<DiskModel> finish(const std::string& path) const {
    if (model_.write.page_seconds > 0 && model_.read.page_seconds > 0) return model_;
    return fail(ErrorCode::invalid_argument,
                "{}: no lines for both ways to a disk; 'bench kv-disk --json' makes them", path);
  }

 private:
  static Result<DiskWay> read_way(const json::object& line) {
    PAGODA_TRY(const double pages_per_second, read_positive(line, "pages_per_second"));
    PAGODA_TRY(const double alone, read_positive(line, "alone_seconds"));
    const double page_seconds = 1 / pages_per_second;
    return DiskWay{.latency_seconds = std::max(alone - page_seconds, 0.0), .page_seconds = page_seconds};
  }

  DiskModel model_;
  json::value io_;
};

}  // namespace

Result<DiskModel> read_disk_model(const std::string& path) {
  Reader reader;
  PAGODA_TRY_STATUS(for_each_line(path, [&](std::string_view line) { return reader.read_line(line); }));
  return reader.finish(path);
}

}  // namespace pagoda
