#include "io/model_file.h"

#include <algorithm>
#include <filesystem>

#include "io/mapped_file.h"
#include "io/open_formats.h"

namespace pagoda {

namespace fs = std::filesystem;

namespace {

// Opens all parts of a GGUF model; the mappings live as long as the object.
class GgufFile final : public ModelFile {
 public:
  static Result<std::unique_ptr<ModelFile>> open(const std::string& path);

  Result<std::string> read_side_file(std::string_view name) const override {
    return fail(ErrorCode::not_found, "{}: a GGUF file has no side file '{}'", path_, name);
  }

 private:
  Status add_part(const std::string& part);
  std::vector<MappedFile> mappings_;
};

Status GgufFile::add_part(const std::string& part) {
  PAGODA_TRY(MappedFile mapping, MappedFile::open(part));
  PAGODA_TRY(GgufContents contents, parse_gguf(mapping.bytes(), part));
  const int index = static_cast<int>(mappings_.size());
  for (NamedTensor& tensor : contents.tensors) {
    tensor.file_index = index;
    tensors_.push_back(std::move(tensor));
  }
  if (index == 0) metadata_ = std::move(contents.metadata);
  total_bytes_ += mapping.bytes().size();
  files_.push_back(part);
  mappings_.push_back(std::move(mapping));
  return {};
}

// "name-00001-of-00003.gguf" -> the path of part `index` (from 1); empty if the name is not of that form.
std::string split_part(const std::string& path, int64_t index, int64_t count) {
  const std::string tail = fmt::format("-{:05}-of-{:05}.gguf", 1, count);
  if (!path.ends_with(tail)) return {};
  return path.substr(0, path.size() - tail.size()) + fmt::format("-{:05}-of-{:05}.gguf", index, count);
}

Result<std::unique_ptr<ModelFile>> GgufFile::open(const std::string& path) {
  auto file = std::make_unique<GgufFile>();
  file->format_ = ModelFormat::gguf;
  file->path_ = path;
  PAGODA_TRY_STATUS(file->add_part(path));
  const int64_t num_parts = file->find_int("split.count").value_or(1);
  if (num_parts < 0 || num_parts > 9999)
    return fail(ErrorCode::corrupt, "{}: split.count is {}", path, num_parts);
  for (int64_t part = 2; part <= num_parts; ++part) {
    const std::string part_path = split_part(path, part, num_parts);
    if (part_path.empty())
      return fail(ErrorCode::invalid_argument,
                  "{}: is one of {} parts; open the first one, named …-00001-of-{:05}.gguf", path, num_parts,
                  num_parts);
    PAGODA_TRY_STATUS(file->add_part(part_path));
  }
  if (const int64_t want = file->find_int("split.tensors.count").value_or(-1);
      num_parts > 1 && want >= 0 && want != static_cast<int64_t>(file->tensors_.size()))
    return fail(ErrorCode::corrupt, "{}: its parts hold {} tensors, split.tensors.count says {}", path,
                file->tensors_.size(), want);
  PAGODA_TRY_STATUS(file->index_tensors());
  return file;
}

Result<std::string> only_gguf_in(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".gguf") found.push_back(entry.path().string());
  if (error) return fail(ErrorCode::io, "{}: cannot be listed: {}", folder, error.message());
  std::ranges::sort(found);
  if (found.empty())
    return fail(ErrorCode::not_found, "{}: has neither a config.json nor a .gguf file in it", folder);
  const bool one_split_set = found.front().find("-00001-of-") != std::string::npos;
  if (found.size() > 1 && !one_split_set)
    return fail(ErrorCode::invalid_argument, "{}: has {} .gguf files in it; name one of them", folder, found.size());
  return found.front();
}

}  // namespace

Result<std::unique_ptr<ModelFile>> open_gguf(const std::string& path) { return GgufFile::open(path); }

Result<std::unique_ptr<ModelFile>> ModelFile::open(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found)
    return fail(ErrorCode::not_found, "{}: there is no such file or folder", path);
  if (error) return fail(ErrorCode::io, "{}: {}", path, error.message());
  if (status.type() != fs::file_type::directory) {
    if (path.ends_with(".safetensors"))
      return fail(ErrorCode::invalid_argument, "{}: is one file of a Hugging Face model; name its folder instead",
                  path);
    return open_gguf(path);
  }
  if (fs::exists(fs::path(path) / "config.json", error)) return open_hugging_face(path);
  PAGODA_TRY(const std::string gguf, only_gguf_in(path));
  return open_gguf(gguf);
}

const NamedTensor* ModelFile::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

std::optional<int64_t> ModelFile::find_int(std::string_view key) const {
  const auto* value = find_value<int64_t>(key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<double> ModelFile::find_double(std::string_view key) const {
  if (const auto* value = find_value<double>(key)) return *value;
  if (const auto* value = find_value<int64_t>(key)) return static_cast<double>(*value);
  return std::nullopt;
}

std::optional<bool> ModelFile::find_bool(std::string_view key) const {
  const auto* value = find_value<bool>(key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

const std::string* ModelFile::find_string(std::string_view key) const { return find_value<std::string>(key); }

Status ModelFile::index_tensors() {
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (!by_name_.emplace(tensors_[i].name, i).second)
      return fail(ErrorCode::corrupt, "{}: tensor '{}' stands in the model twice", path_, tensors_[i].name);
  return {};
}

}  // namespace pagoda
