// Which store of pages an engine has, and what pages of one engine are to another.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "engine/engine_config.h"
#include "io/hash.h"
#include "io/model_file.h"
#include "kv/page_store.h"
#include "model/load_model.h"
#include "model/model.h"

namespace pagoda {

// Of all that changes K and V of given tokens: the model's files, how its weights and activations are
// rounded, type and layout of the pages. Not of the processor: all kernels give the same bits.
Digest kv_fingerprint(const ModelFile& file, const Model& model, FloatActivations activations);

// Opens config.kv_disk for Engine::Parts.
std::function<Result<std::unique_ptr<PageStore>>(PageMemory&)> disk_store_opener(const EngineConfig& config);

}  // namespace pagoda
