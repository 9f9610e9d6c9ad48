// A model on disk, opened for reading: names -> tensor views and metadata. Knows no architecture. Two
// formats: a GGUF file, or a Hugging Face folder (config.json, *.safetensors, tokenizer.json …).
//
// Every offset, count, size and string is checked against the file before use. A truncated or hostile file
// gives one Error (corrupt) that names the file and the field; memory taken while opening is bounded by the
// file's own size.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "io/mapped_file.h"
#include "tensor/tensor_view.h"

namespace pagoda {

// A GGUF metadata value. Integers of all widths become int64 (uint64 beyond int64 is refused), floats double.
// The elements of an array of strings, which a vocabulary has by the hundred thousand, are views into the
// file.
using MetaValue = std::variant<bool, int64_t, double, std::string, std::vector<bool>, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string_view>>;
using Metadata = std::map<std::string, MetaValue, std::less<>>;

struct NamedTensor {
  std::string name;
  TensorView view;  // into the file's mapping; valid while the ModelFile lives
  uint64_t file_offset = 0;
  int file_index = 0;  // which of `files` holds it
};

// A tensor of a type that is not read, such as integers beside the weights. Only who needs it has to refuse
// it.
struct UnreadTensor {
  std::string name;
  std::string dtype;  // as the file spells it, quoted for messages
  int file_index = 0;
};

enum class ModelFormat { gguf, hugging_face };

class ModelFile {
 public:
  // What others share of its files leaves the process's memory, too, until they look at it.
  virtual ~ModelFile();

  // `path`: a .gguf file, a folder with config.json, or a folder that holds exactly one .gguf.
  static Result<std::unique_ptr<ModelFile>> open(const std::string& path);

  ModelFormat format() const { return format_; }
  const std::string& path() const { return path_; }
  const std::vector<std::string>& files() const { return files_; }
  uint64_t total_bytes() const { return total_bytes_; }
  // The mapping of files()[file_index], for advice on when its parts are needed; null where the tensors lie
  // in memory.
  const MappedFile* mapping(int file_index) const;
  // The same, for those who read its tensors when this ModelFile is gone.
  std::shared_ptr<const MappedFile> share_mapping(int file_index) const;

  // In file order.
  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  // Null if the file has no such tensor, or one of a type that is not read.
  const NamedTensor* find(std::string_view name) const;
  const UnreadTensor* find_unread(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr || find_unread(name) != nullptr; }

  // GGUF metadata, valid while the ModelFile lives; empty for Hugging Face folders.
  const Metadata& metadata() const { return metadata_; }
  // Typed look-ups in metadata(): null if absent or of another type.
  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  const std::string* find_string(std::string_view key) const;
  template <class T>
  const T* find_value(std::string_view key) const {
    const auto it = metadata_.find(key);
    return it == metadata_.end() ? nullptr : std::get_if<T>(&it->second);
  }

  // Contents of a side file of a Hugging Face folder ("config.json", "tokenizer.json", "chat_template.jinja",
  // …); not_found if the folder has none or the format is GGUF. At most 256 MiB.
  virtual Result<std::string> read_side_file(std::string_view name) const = 0;

 protected:
  ModelFile() = default;
  void add_file(const std::string& path, MappedFile mapping);
  Status index_tensors();  // after tensors_ and unread_ are filled

  ModelFormat format_ = ModelFormat::gguf;
  std::string path_;
  std::vector<std::string> files_;
  uint64_t total_bytes_ = 0;
  std::vector<NamedTensor> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::vector<UnreadTensor> unread_;  // sorted by name once indexed
  Metadata metadata_;

 private:
  std::vector<std::shared_ptr<const MappedFile>> mappings_;  // of files_
};

// The parsers by themselves, over bytes in memory (for tests and fuzzers), which what they return points
// into. `name` is used in messages.
struct GgufContents {
  uint32_t version = 0;
  Metadata metadata;
  std::vector<NamedTensor> tensors;
};
Result<GgufContents> parse_gguf(std::span<const std::byte> file, std::string_view name);
struct SafetensorsContents {
  std::map<std::string, std::string> metadata;  // "__metadata__"
  std::vector<NamedTensor> tensors;             // of F32, F16 and BF16
  std::vector<UnreadTensor> unread;  // of other types: they lie inside the file, no more is checked
};
Result<SafetensorsContents> parse_safetensors(std::span<const std::byte> file, std::string_view name);

}  // namespace pagoda
