// Opens a model of any registered architecture.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "io/model_file.h"
#include "kernels/kernels.h"
#include "kernels/kv_page.h"
#include "model/model.h"

namespace pagoda {

// Less is read before two more jobs have begun: of SmolLM2's 28 million all are read faster.
inline constexpr int64_t kMinScreenedWeights = 64'000'000;
inline constexpr int64_t kNoScreening = INT64_MAX;

struct LoadOptions {
  // Default: f32 where all linear weights are floating point (full precision asks for full precision), else
  // bf16.
  std::optional<KvType> kv_type;
  FloatActivations float_activations = FloatActivations::f32;  // what bf16 weights are multiplied by
  // From so many weights of the vocabulary projection on, the best next token is found without reading all of
  // them, where their format allows that (nn/screened_linear.h). Changes no token.
  int64_t min_screened_weights = kMinScreenedWeights;
  uint64_t max_weight_bytes =
      UINT64_MAX;  // out_of_memory, naming both sizes, if the packed weights need more
  // Folder of a file with the packed weights (weights/packed_cache.h); "": beside
  // the model; without a value none is read or written.
  std::optional<std::string> packed_cache;
  void (*progress)(void* context, double fraction) = nullptr;  // 0 … 1 while weights are packed
  void* progress_context = nullptr;
};

// Reads the configuration, packs the weights on all threads of the pool and builds the model. An unknown
// architecture is `unsupported` and names the known ones; a missing or misshapen tensor is `corrupt` and
// names it.
Result<std::unique_ptr<Model>> load_model(const ModelFile& file, const Kernels& kernels, ThreadPool& pool,
                                          const LoadOptions& options);

}  // namespace pagoda
