// The two kinds of ModelFile, for ModelFile::open.
#pragma once

#include <memory>
#include <string>

#include "io/model_file.h"

namespace pagoda {

// One file, or the first of a split set ("…-00001-of-00003.gguf", metadata split.count).
Result<std::unique_ptr<ModelFile>> open_gguf(const std::string& path);
// A folder with config.json and model.safetensors, or model.safetensors.index.json and its shards.
Result<std::unique_ptr<ModelFile>> open_hugging_face(const std::string& folder);

}  // namespace pagoda
