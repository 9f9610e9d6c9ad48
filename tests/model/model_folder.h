// Models of tests/data, as they are or with another configuration.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <unistd.h>

#include "base/cpu_info.h"
#include "base/thread_pool.h"
#include "io/model_file.h"
#include "kernels/kernels.h"
#include "model/golden.h"
#include "model/load_model.h"

namespace pagoda::testing {

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

inline std::string model_folder(const std::string& name) {
  return PAGODA_TEST_DATA "/models/" + name;
}

// Removed at the end.
class TempFolder {
 public:
  TempFolder() : path_((std::filesystem::temp_directory_path() / "pagoda_model_XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make a folder for the test");
  }
  TempFolder(const TempFolder&) = delete;
  ~TempFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A model's weights with another configuration.
class FolderWithConfig {
 public:
  FolderWithConfig(const std::string& folder, const std::string& config_text) {
    const std::filesystem::path path = folder_.path();
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".safetensors")
        std::filesystem::create_symlink(entry.path(), path / entry.path().filename());
    std::ofstream(path / "config.json") << config_text;
  }
  // With a file of the folder as its config.json.
  static FolderWithConfig from_file(const std::string& folder, const std::string& config_name) {
    return FolderWithConfig(folder, read_whole_file(folder + "/" + config_name));
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
};

inline std::unique_ptr<Model> load(const std::string& path, Isa isa, ThreadPool& pool,
                                   std::optional<KvType> kv_type = {},
                                   int64_t min_screened_weights = kMinScreenedWeights) {
  const auto file = value_of(ModelFile::open(path));
  LoadOptions options;
  options.kv_type = kv_type;
  options.min_screened_weights = min_screened_weights;
  return value_of(load_model(*file, kernels_for(isa), pool, options));
}

}  // namespace pagoda::testing
