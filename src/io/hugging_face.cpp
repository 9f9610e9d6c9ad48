#include <algorithm>
#include <filesystem>
#include <set>

#include <boost/json.hpp>

#include "io/mapped_file.h"
#include "io/open_formats.h"

namespace pagoda {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr size_t kMaxSideFileBytes = size_t{256} << 20;
constexpr std::string_view kIndexName = "model.safetensors.index.json";

// A name that stays inside its folder.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

class HuggingFaceFolder final : public ModelFile {
 public:
  static Result<std::unique_ptr<ModelFile>> open(const std::string& folder);

  Result<std::string> read_side_file(std::string_view name) const override {
    if (!is_plain_name(name)) return fail(ErrorCode::invalid_argument, "{}: '{}' is no file name", path_, name);
    return read_text_file((fs::path(path_) / name).string(), kMaxSideFileBytes);
  }

 private:
  Result<std::set<std::string>> shard_names() const;
  Status add_shard(const std::string& shard);
  std::vector<MappedFile> mappings_;
};

Result<std::set<std::string>> HuggingFaceFolder::shard_names() const {
  std::error_code error;
  if (!fs::exists(fs::path(path_) / kIndexName, error)) {
    if (!fs::exists(fs::path(path_) / "model.safetensors", error))
      return fail(ErrorCode::not_found, "{}: has neither model.safetensors nor {}", path_, kIndexName);
    return std::set<std::string>{"model.safetensors"};
  }
  PAGODA_TRY(const std::string text, read_side_file(kIndexName));
  boost::system::error_code parse_error;
  const json::value root = json::parse(text, parse_error);
  const json::object* object = parse_error ? nullptr : root.if_object();
  const json::value* map = object == nullptr ? nullptr : object->if_contains("weight_map");
  if (map == nullptr || !map->is_object())
    return fail(ErrorCode::corrupt, "{}/{}: has no object 'weight_map'", path_, kIndexName);
  std::set<std::string> names;
  for (const auto& [tensor, shard] : map->get_object()) {
    if (!shard.is_string() || !is_plain_name(std::string_view(shard.get_string())))
      return fail(ErrorCode::corrupt, "{}/{}: tensor '{}' is not mapped to a file of this folder", path_, kIndexName,
                  std::string_view(tensor));
    names.emplace(shard.get_string());
  }
  return names;
}

Status HuggingFaceFolder::add_shard(const std::string& shard) {
  const std::string shard_path = (fs::path(path_) / shard).string();
  PAGODA_TRY(MappedFile mapping, MappedFile::open(shard_path));
  PAGODA_TRY(SafetensorsContents contents, parse_safetensors(mapping.bytes(), shard_path));
  for (NamedTensor& tensor : contents.tensors) {
    tensor.file_index = static_cast<int>(mappings_.size());
    tensors_.push_back(std::move(tensor));
  }
  total_bytes_ += mapping.bytes().size();
  files_.push_back(shard_path);
  mappings_.push_back(std::move(mapping));
  return {};
}

Result<std::unique_ptr<ModelFile>> HuggingFaceFolder::open(const std::string& folder) {
  auto model = std::make_unique<HuggingFaceFolder>();
  model->format_ = ModelFormat::hugging_face;
  model->path_ = folder;
  PAGODA_TRY(const std::set<std::string> shards, model->shard_names());
  for (const std::string& shard : shards) PAGODA_TRY_STATUS(model->add_shard(shard));
  PAGODA_TRY_STATUS(model->index_tensors());
  return model;
}

}  // namespace

Result<std::unique_ptr<ModelFile>> open_hugging_face(const std::string& folder) {
  return HuggingFaceFolder::open(folder);
}

}  // namespace pagoda
