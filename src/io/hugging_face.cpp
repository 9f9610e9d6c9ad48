#include <algorithm>
#include <filesystem>
#include <set>

#include "io/json_walk.h"
#include "io/mapped_file.h"
#include "io/open_formats.h"
#include "io/quote.h"

namespace pagoda {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxSideFileBytes = size_t{256} << 20;
constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr size_t kMaxShards = 10'000;

// A name that stays inside its folder.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

// Calls visit(tensor, shard) for each line of an index's weight_map.
template <class Visit>
class WeightMapVisitor final : public JsonVisitor {
 public:
  WeightMapVisitor(std::string_view path, Visit visit) : path_(path), visit_(std::move(visit)) {}
  Status on_begin(JsonContainer kind, JsonPath path) override {
    if (path.size() == 1 && path[0] == kWeightMapKey && kind == JsonContainer::object) found_ = true;
    if (path.size() == 2 && path[0] == kWeightMapKey) return no_file_name(path[1]);
    return {};
  }
  Status on_end(JsonPath path) override {
    if (path.empty() && !found_) return fail(ErrorCode::corrupt, "{}: has no object 'weight_map'", path_);
    return {};
  }
  Status on_scalar(const JsonScalar& value, JsonPath path) override {
    if (path.empty()) return fail(ErrorCode::corrupt, "{}: has no object 'weight_map'", path_);
    if (path.size() != 2 || path[0] != kWeightMapKey) return {};
    const auto* shard = std::get_if<std::string_view>(&value);
    if (shard == nullptr || !is_plain_name(*shard)) return no_file_name(path[1]);
    return visit_(path[1], *shard);
  }

 private:
  static constexpr std::string_view kWeightMapKey = "weight_map";
  std::unexpected<Error> no_file_name(std::string_view tensor) const {
    return fail(ErrorCode::corrupt, "{}: tensor {} is not mapped to the name of a file in this folder", path_,
                quote(tensor));
  }
  std::string_view path_;
  Visit visit_;
  bool found_ = false;
};

class HuggingFaceFolder final : public ModelFile {
 public:
  static Result<std::unique_ptr<ModelFile>> open(const std::string& folder);

  Result<std::string> read_side_file(std::string_view name) const override {
    if (!is_plain_name(name))
      return fail(ErrorCode::invalid_argument, "{}: {} is no file name", path_, quote(name));
    return read_text_file(path_of(name), kMaxSideFileBytes);
  }

 private:
  std::string path_of(std::string_view name) const { return (fs::path(path_) / name).string(); }
  bool has_file(std::string_view name) const {
    std::error_code error;
    return fs::exists(path_of(name), error);
  }
  Status open_single();
  Status open_sharded();
  Status add_shard(std::string_view shard);
};

Status HuggingFaceFolder::add_shard(std::string_view shard) {
  const std::string shard_path = path_of(shard);
  PAGODA_TRY(MappedFile mapping, MappedFile::open(shard_path));
  PAGODA_TRY(SafetensorsContents contents, parse_safetensors(mapping.bytes(), shard_path));
  for (NamedTensor& tensor : contents.tensors) {
    tensor.file_index = static_cast<int>(files_.size());
    tensors_.push_back(std::move(tensor));
  }
  for (UnreadTensor& tensor : contents.unread) {
    tensor.file_index = static_cast<int>(files_.size());
    unread_.push_back(std::move(tensor));
  }
  add_file(shard_path, std::move(mapping));
  return {};
}

Status HuggingFaceFolder::open_single() {
  if (!has_file(kSingleName))
    return fail(ErrorCode::not_found,
                "{}: has neither {} nor {}; weights in other formats must be converted to safetensors first",
                path_, kSingleName, kIndexName);
  PAGODA_TRY_STATUS(add_shard(kSingleName));
  return index_tensors();
}

Status HuggingFaceFolder::open_sharded() {
  const std::string index_path = path_of(kIndexName);
  PAGODA_TRY(const std::string text, read_side_file(kIndexName));
  const auto walk = [&](auto visit) {
    WeightMapVisitor visitor(index_path, std::move(visit));
    return walk_json(text, index_path + ": the index", visitor);
  };
  std::set<std::string, std::less<>> shards;
  PAGODA_TRY_STATUS(walk([&](std::string_view, std::string_view shard) -> Status {
    shards.emplace(shard);
    if (shards.size() > kMaxShards)
      return fail(ErrorCode::corrupt, "{}: names more than {} files", index_path, kMaxShards);
    return {};
  }));
  for (const std::string& shard : shards) {
    if (!has_file(shard))
      return fail(ErrorCode::not_found,
                  "{}: names the file {}, which is missing; the download is probably incomplete", index_path,
                  quote(shard));
    PAGODA_TRY_STATUS(add_shard(shard));
  }
  PAGODA_TRY_STATUS(index_tensors());
  return walk([&](std::string_view name, std::string_view shard) -> Status {
    const NamedTensor* tensor = find(name);
    const UnreadTensor* unread = find_unread(name);
    const int file_index = tensor ? tensor->file_index : unread ? unread->file_index : -1;
    if (file_index >= 0 && files_[static_cast<size_t>(file_index)] == path_of(shard)) return {};
    return fail(ErrorCode::corrupt, "{}: tensor {} is not in the file {}", index_path, quote(name),
                quote(shard));
  });
}

Result<std::unique_ptr<ModelFile>> HuggingFaceFolder::open(const std::string& folder) {
  auto model = std::make_unique<HuggingFaceFolder>();
  model->format_ = ModelFormat::hugging_face;
  model->path_ = folder;
  PAGODA_TRY_STATUS(model->has_file(kIndexName) ? model->open_sharded() : model->open_single());
  return model;
}

}  // namespace

Result<std::unique_ptr<ModelFile>> open_hugging_face(const std::string& folder) {
  return HuggingFaceFolder::open(folder);
}

}  // namespace pagoda
