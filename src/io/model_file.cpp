#include "io/model_file.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "io/open_formats.h"
#include "io/quote.h"

namespace pagoda {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kMaxParts = 9999;

// Opens all parts of a GGUF model; the mappings live as long as the object.
class GgufFile final : public ModelFile {
 public:
  static Result<std::unique_ptr<ModelFile>> open(const std::string& path);

  Result<std::string> read_side_file(std::string_view name) const override {
    return fail(ErrorCode::not_found, "{}: a GGUF file has no side file '{}'", path_, name);
  }

 private:
  Result<Metadata> add_part(const std::string& part);
  Status add_other_parts(int64_t num_parts);
};

// Adds a part's tensors and gives its metadata.
Result<Metadata> GgufFile::add_part(const std::string& part) {
  PAGODA_TRY(MappedFile mapping, MappedFile::open(part));
  PAGODA_TRY(GgufContents contents, parse_gguf(mapping.bytes(), part));
  for (NamedTensor& tensor : contents.tensors) {
    tensor.file_index = static_cast<int>(files_.size());
    tensors_.push_back(std::move(tensor));
  }
  add_file(part, std::move(mapping));
  return std::move(contents.metadata);
}

// How the name of part `number` (from 1) of a split model ends.
std::string split_tail(int64_t number, int64_t num_parts) {
  return fmt::format("-{:05}-of-{:05}.gguf", number, num_parts);
}

// The number of parts of which "name-00001-of-00003.gguf" is the first; 0 if the name is not of that form.
int64_t parts_of_first(std::string_view file_name) {
  const size_t end = file_name.rfind(".gguf");
  if (end == std::string_view::npos || end < 5) return 0;
  int64_t num_parts = 0;
  const char* last = file_name.data() + end;
  if (std::from_chars(last - 5, last, num_parts).ptr != last) return 0;
  return num_parts > 0 && file_name.ends_with(split_tail(1, num_parts)) ? num_parts : 0;
}

Status GgufFile::add_other_parts(int64_t num_parts) {
  if (num_parts < 0 || num_parts > kMaxParts)
    return fail(ErrorCode::corrupt, "{}: split.count is {}", path_, num_parts);
  const std::string first_tail = split_tail(1, num_parts);
  if (!path_.ends_with(first_tail))
    return fail(ErrorCode::invalid_argument, "{}: is one of {} parts; open the first one, named …{}", path_,
                num_parts, first_tail);
  const std::string stem = path_.substr(0, path_.size() - first_tail.size());
  for (int64_t number = 2; number <= num_parts; ++number) {
    const std::string part = stem + split_tail(number, num_parts);
    PAGODA_TRY(const Metadata metadata, add_part(part));
    const auto it = metadata.find("split.no");
    const auto* index = it == metadata.end() ? nullptr : std::get_if<int64_t>(&it->second);
    if (index == nullptr || *index != number - 1)
      return fail(ErrorCode::corrupt, "{}: its metadata does not say that it is part {} (split.no)", part,
                  number);
  }
  if (const auto want = find_int("split.tensors.count");
      want && *want != static_cast<int64_t>(tensors_.size()))
    return fail(ErrorCode::corrupt, "{}: its parts hold {} tensors, split.tensors.count says {}", path_,
                tensors_.size(), *want);
  return {};
}

Result<std::unique_ptr<ModelFile>> GgufFile::open(const std::string& path) {
  auto file = std::make_unique<GgufFile>();
  file->format_ = ModelFormat::gguf;
  file->path_ = path;
  PAGODA_TRY(file->metadata_, file->add_part(path));
  const int64_t num_parts = file->find_int("split.count").value_or(0);
  if (num_parts != 0 && num_parts != 1) PAGODA_TRY_STATUS(file->add_other_parts(num_parts));
  PAGODA_TRY_STATUS(file->index_tensors());
  return file;
}

Result<std::string> only_gguf_in(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error))
    if (entry->path().extension() == ".gguf") found.push_back(entry->path().string());
  if (error) return fail(ErrorCode::io, "{}: cannot be listed: {}", folder, error.message());
  std::ranges::sort(found);
  if (found.empty())
    return fail(ErrorCode::not_found, "{}: has neither a config.json nor a .gguf file in it", folder);
  const int64_t num_parts = std::max<int64_t>(parts_of_first(found.front()), 1);
  if (static_cast<int64_t>(found.size()) > num_parts)
    return fail(ErrorCode::invalid_argument, "{}: has {} .gguf files in it; name one of them", folder,
                found.size());
  return found.front();
}

}  // namespace

Result<std::unique_ptr<ModelFile>> open_gguf(const std::string& path) {
  return GgufFile::open(path);
}

Result<std::unique_ptr<ModelFile>> ModelFile::open(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found)
    return fail(ErrorCode::not_found, "{}: there is no such file or folder", path);
  if (error) return fail(ErrorCode::io, "{}: {}", path, error.message());
  if (status.type() != fs::file_type::directory) {
    if (path.ends_with(".safetensors"))
      return fail(ErrorCode::invalid_argument,
                  "{}: is one file of a Hugging Face model; name its folder instead", path);
    return open_gguf(path);
  }
  if (fs::exists(fs::path(path) / "config.json", error)) return open_hugging_face(path);
  PAGODA_TRY(const std::string gguf, only_gguf_in(path));
  return open_gguf(gguf);
}

ModelFile::~ModelFile() {
  for (const auto& mapping : mappings_) mapping->release(mapping->bytes());
}

const MappedFile* ModelFile::mapping(int file_index) const {
  return share_mapping(file_index).get();
}

std::shared_ptr<const MappedFile> ModelFile::share_mapping(int file_index) const {
  const auto index = static_cast<size_t>(file_index);
  return index < mappings_.size() ? mappings_[index] : nullptr;
}

void ModelFile::add_file(const std::string& path, MappedFile mapping) {
  total_bytes_ += mapping.bytes().size();
  files_.push_back(path);
  mappings_.push_back(std::make_shared<const MappedFile>(std::move(mapping)));
}

const NamedTensor* ModelFile::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

const UnreadTensor* ModelFile::find_unread(std::string_view name) const {
  const auto it = std::ranges::lower_bound(unread_, name, {}, &UnreadTensor::name);
  return it == unread_.end() || it->name != name ? nullptr : &*it;
}

std::optional<int64_t> ModelFile::find_int(std::string_view key) const {
  const auto* value = find_value<int64_t>(key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

std::optional<bool> ModelFile::find_bool(std::string_view key) const {
  const auto* value = find_value<bool>(key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

const std::string* ModelFile::find_string(std::string_view key) const {
  return find_value<std::string>(key);
}

Status ModelFile::index_tensors() {
  const auto twice = [&](std::string_view name) {
    return fail(ErrorCode::corrupt, "{}: tensor {} stands in the model twice", path_, quote(name));
  };
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (!by_name_.emplace(tensors_[i].name, i).second) return twice(tensors_[i].name);
  std::ranges::sort(unread_, {}, &UnreadTensor::name);
  for (size_t i = 0; i < unread_.size(); ++i)
    if (by_name_.contains(unread_[i].name) || (i > 0 && unread_[i].name == unread_[i - 1].name))
      return twice(unread_[i].name);
  return {};
}

}  // namespace pagoda
