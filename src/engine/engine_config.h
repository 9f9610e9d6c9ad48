// Options as users give them -> one immutable, resolved configuration, printed at start.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/cpu_info.h"
#include "base/result.h"
#include "kv/prefix_cache.h"
#include "model/load_model.h"
#include "model/model.h"

namespace pagoda {

inline constexpr const char* kDefaultPolicy = "mlfq";

// 0 or empty means "choose for me".
struct EngineOptions {
  int num_threads = 0;           // default: the usable cores
  uint64_t memory_bytes = 0;     // weights + KV + scratch stay under it; default: 80 % of what is available
  bool constraints = false;      // so does a ConstraintFactory of the model's tokenizer
  int64_t max_context = 0;       // default: the model's
  int32_t max_batch_tokens = 0;  // tokens in one step, decodes and prefill chunks together; default 256
  int32_t max_sequences = 0;     // running at once; default 64
  int32_t max_queued_requests = 0;  // waiting; default 256
  int64_t max_queued_tokens = 0;    // of their prompts; default: no bound
  int32_t prefill_chunk = 0;        // most tokens of one prompt in one step; default max_batch_tokens
  std::optional<KvType> kv_type;    // as in LoadOptions
  FloatActivations float_activations = FloatActivations::f32;
  std::optional<std::string> packed_cache;             // as in LoadOptions; default: none
  int64_t min_screened_weights = kMinScreenedWeights;  // as in LoadOptions
  std::string policy;                                  // default kDefaultPolicy
  std::optional<double> max_step_ms;                   // a bound on the time of a step; default, or 0: none
  bool kv_ahead = true;      // keep and fetch the pages of preempted sequences by when they run again
  bool prefix_cache = true;  // keep pages for sequences that begin alike
  Eviction eviction = Eviction::cost;  // of kept pages
  std::string kv_disk;                 // a folder where pages are kept, too; default: none
  uint64_t kv_disk_bytes = 0;          // of it; default 20 GiB
  uint64_t max_kv_bytes = 0;           // a further bound on the KV pool; default: what the memory allows
  uint64_t seed = 0;                   // requests without a seed get one derived from this and their number
};

struct EngineConfig {
  int num_threads = 1;
  uint64_t memory_bytes = 0;
  int64_t max_context = 0;
  int32_t max_batch_tokens = 0;
  int32_t max_sequences = 0;
  int32_t max_queued_requests = 0;
  int64_t max_queued_tokens = 0;  // 0: no bound
  int32_t prefill_chunk = 0;
  int64_t max_step_ns = 0;  // 0: no bound
  std::string policy;
  int32_t num_pages = 0;  // KV pool
  uint64_t kv_bytes = 0;
  uint64_t weight_bytes = 0;
  uint64_t workspace_bytes = 0;  // forward scratch, logits rows and sampling scratch
  uint64_t constraint_bytes = 0;
  uint64_t seed = 0;
  PrefixCacheOptions prefix_cache;  // the store is the engine's
  std::string kv_disk;
  uint64_t kv_disk_bytes = 0;

  int64_t kv_capacity_tokens() const { return int64_t{num_pages} * kPageTokens; }
  // A batch has fewer rows of logits than tokens: they are wide.
  BatchLimits batch_limits() const;
};

// What of the machine matters here.
struct MachineInfo {
  CpuInfo cpu;                    // num_cores bounded by the control group's quota, too
  uint64_t available_memory = 0;  // bytes: MemAvailable, bounded by what the control group's limits leave
};
// Of the hidden states that a step may be asked for.
uint64_t hidden_bytes(const EngineConfig& config, const ModelInfo& info);

// To be called before a model is loaded: the budget counts the weights. `root` is where /proc and /sys are
// found.
MachineInfo inspect_machine(const std::filesystem::path& root = "/");

// The part of the configuration that loading a model needs: it packs weights on these threads within this
// memory.
struct Resources {
  int num_threads = 1;
  uint64_t memory_bytes = 0;
};
Result<Resources> resolve_resources(const EngineOptions& options, const MachineInfo& machine);

// Pure. Without max_context the model's is lowered to what the KV pool holds. out_of_memory, with the sizes
// and the option to change, when the budget cannot hold the weights, the scratch and at least one page per
// running sequence; invalid_argument for options out of range. `constraint_bytes`: what a factory of
// constraints takes, which counts if the options ask for one.
Result<EngineConfig> resolve(const EngineOptions& options, const Model& model, const MachineInfo& machine,
                             uint64_t constraint_bytes);

}  // namespace pagoda
