#include "engine/engine_config.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kv/disk/disk_page_store.h"
#include "kv/kv_cache.h"
#include "sample/sampler.h"
#include "sched/scheduler_policy.h"

namespace pagoda {

namespace {

constexpr int32_t kDefaultBatchTokens = 256;
constexpr int32_t kDefaultSequences = 64;
constexpr int32_t kDefaultQueuedRequests = 256;
constexpr uint64_t kDefaultKvDiskBytes = uint64_t{20} << 30;
constexpr int kMaxThreads = 1024;
constexpr int32_t kMaxSequences = 4096;
constexpr int32_t kMaxBatchTokens = 1 << 20;
constexpr int32_t kMaxQueuedRequests = 1 << 20;
constexpr double kMaxStepMs = 1e6;
// Rows of logits in one step even where few sequences run: log probabilities of prompts need one per token.
constexpr int32_t kMinLogitsRows = 32;

std::string mebibytes(uint64_t num_bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(num_bytes) / 0x1p20);
}

template <class T>
Status check_option(const char* name, T value, T max) {
  if (value >= 0 && value <= max) return {};
  return fail(ErrorCode::invalid_argument, "{} must be between 1 and {}; got {}", name, max, value);
}

Status check_options(const EngineOptions& options, const ModelInfo& info) {
  PAGODA_TRY_STATUS(check_option("--max-context", options.max_context, info.max_context));
  PAGODA_TRY_STATUS(check_option("--max-batch-tokens", options.max_batch_tokens, kMaxBatchTokens));
  PAGODA_TRY_STATUS(check_option("--max-sequences", options.max_sequences, kMaxSequences));
  PAGODA_TRY_STATUS(check_option("--max-queued", options.max_queued_requests, kMaxQueuedRequests));
  PAGODA_TRY_STATUS(check_option("--prefill-chunk", options.prefill_chunk, kMaxBatchTokens));
  if (const double max_step_ms = options.max_step_ms.value_or(0); max_step_ms < 0 || max_step_ms > kMaxStepMs)
    return fail(ErrorCode::invalid_argument, "--max-step-ms must be between 0 and {}; got {}", kMaxStepMs,
                max_step_ms);
  return {};
}

template <class T>
T or_default(T value, T fallback) {
  return value != 0 ? value : fallback;
}

// Every running sequence gets its one token in every step, so a batch must have room for all of them.
Status resolve_batch(const EngineOptions& options, EngineConfig& config) {
  config.max_batch_tokens =
      or_default(options.max_batch_tokens, std::max(kDefaultBatchTokens, options.max_sequences));
  config.max_sequences =
      or_default(options.max_sequences, std::min(kDefaultSequences, config.max_batch_tokens));
  if (config.max_sequences > config.max_batch_tokens)
    return fail(
        ErrorCode::invalid_argument,
        "--max-sequences {} exceeds --max-batch-tokens {}: each running sequence needs a token per step",
        config.max_sequences, config.max_batch_tokens);
  config.prefill_chunk =
      std::min(or_default(options.prefill_chunk, config.max_batch_tokens), config.max_batch_tokens);
  config.max_queued_requests = or_default(options.max_queued_requests, kDefaultQueuedRequests);
  config.max_queued_tokens = options.max_queued_tokens;
  config.max_step_ns = std::llround(options.max_step_ms.value_or(0) * 1e6);
  return {};
}

uint64_t workspace_bytes(const EngineConfig& config, const Model& model) {
  const BatchLimits limits = config.batch_limits();
  const auto vocab_size = static_cast<uint64_t>(model.info().vocab_size);
  const uint64_t logits = static_cast<uint64_t>(limits.max_logits_rows) * vocab_size * sizeof(float);
  const uint64_t samplers =
      static_cast<uint64_t>(config.num_threads) * Sampler::scratch_bytes(model.info().vocab_size);
  return model.workspace_bytes(limits) + logits + samplers + hidden_bytes(config, model.info());
}

// Memory of the disk tier: buffers of transfers, and what is known of each stored page.
uint64_t disk_tier_bytes(const EngineConfig& config, const ModelInfo& info) {
  if (config.kv_disk.empty()) return 0;
  const uint64_t page_bytes = info.kv_shape.page_bytes();
  return DiskPageStore::buffer_bytes(DiskStoreOptions{}.queue_depth, page_bytes) +
         config.kv_disk_bytes / page_bytes * PrefixCache::kBytesPerNode;
}

// Pages that all running sequences need at full context, bounded by the memory that is left.
Status resolve_kv(const EngineOptions& options, const ModelInfo& info, EngineConfig& config) {
  const uint64_t page_bytes = info.kv_shape.page_bytes();
  const uint64_t known_page_bytes = page_bytes + (options.prefix_cache ? PrefixCache::kBytesPerNode : 0);
  const uint64_t fixed_bytes =
      config.weight_bytes + config.workspace_bytes + config.constraint_bytes + disk_tier_bytes(config, info);
  const uint64_t least_bytes = fixed_bytes + static_cast<uint64_t>(config.max_sequences) * known_page_bytes;
  if (config.memory_bytes < least_bytes)
    return fail(
        ErrorCode::out_of_memory,
        "{} of memory are not enough: weights {}, scratch {}, tables for constraints {}, and {} for the KV "
        "cache of {} sequences; raise --memory to at least {}, or lower --max-sequences or "
        "--max-batch-tokens",
        mebibytes(config.memory_bytes), mebibytes(config.weight_bytes), mebibytes(config.workspace_bytes),
        mebibytes(config.constraint_bytes), mebibytes(least_bytes - fixed_bytes), config.max_sequences,
        mebibytes(least_bytes));
  const uint64_t affordable = (config.memory_bytes - fixed_bytes) / known_page_bytes;
  uint64_t num_pages = affordable;
  // A bound that was asked for is taken: what no running sequence needs holds prefixes and those preempted.
  if (options.max_kv_bytes != 0) num_pages = std::min(num_pages, options.max_kv_bytes / page_bytes);
  if (num_pages < static_cast<uint64_t>(config.max_sequences))
    return fail(ErrorCode::out_of_memory,
                "a KV cache of {} has {} pages of {}, but each of the {} running sequences needs one; raise "
                "--max-kv or lower --max-sequences",
                mebibytes(options.max_kv_bytes), num_pages, mebibytes(page_bytes), config.max_sequences);
  const uint64_t wanted =
      static_cast<uint64_t>(config.max_sequences) * static_cast<uint64_t>(pages_for(config.max_context));
  if (options.max_kv_bytes == 0) num_pages = std::min(num_pages, wanted);
  num_pages = std::min(num_pages, static_cast<uint64_t>(std::numeric_limits<int32_t>::max()));
  config.num_pages = static_cast<int32_t>(num_pages);
  config.kv_bytes = num_pages * page_bytes;
  if (config.max_context <= config.kv_capacity_tokens()) return {};
  if (options.max_context != 0)
    return fail(
        ErrorCode::out_of_memory,
        "the KV cache has room for {} tokens only, less than --max-context {}; raise {} or lower that",
        config.kv_capacity_tokens(), config.max_context, num_pages < affordable ? "--max-kv" : "--memory");
  config.max_context = config.kv_capacity_tokens();
  return {};
}

// Multiply-adds of attention per position looked at, by those of everything else for a token.
double attention_share(const ModelInfo& info) {
  const double per_position = 2.0 * info.kv_shape.num_layers * static_cast<double>(info.hidden_size);
  return per_position / static_cast<double>(std::max<int64_t>(info.num_parameters, 1));
}

}  // namespace

uint64_t hidden_bytes(const EngineConfig& config, const ModelInfo& info) {
  return static_cast<uint64_t>(config.max_batch_tokens) * static_cast<uint64_t>(info.hidden_size) *
         sizeof(float);
}

BatchLimits EngineConfig::batch_limits() const {
  return {.max_tokens = max_batch_tokens,
          .max_sequences = max_sequences,
          .max_logits_rows = std::min(max_batch_tokens, std::max(max_sequences, kMinLogitsRows)),
          .max_context = max_context,
          .num_threads = num_threads};
}

Result<Resources> resolve_resources(const EngineOptions& options, const MachineInfo& machine) {
  PAGODA_TRY_STATUS(check_option("--threads", options.num_threads, kMaxThreads));
  return Resources{.num_threads = or_default(options.num_threads, std::max(machine.cpu.num_cores, 1)),
                   .memory_bytes = or_default(options.memory_bytes, machine.available_memory / 10 * 8)};
}

Result<EngineConfig> resolve(const EngineOptions& options, const Model& model, const MachineInfo& machine,
                             uint64_t constraint_bytes) {
  const ModelInfo& info = model.info();
  PAGODA_TRY_STATUS(check_options(options, info));
  EngineConfig config;
  PAGODA_TRY(const Resources resources, resolve_resources(options, machine));
  config.num_threads = resources.num_threads;
  config.memory_bytes = resources.memory_bytes;
  config.max_context = or_default(options.max_context, info.max_context);
  config.policy = options.policy.empty() ? kDefaultPolicy : options.policy;
  config.seed = options.seed;
  config.prefix_cache.enabled = options.prefix_cache;
  config.prefix_cache.eviction = options.eviction;
  config.prefix_cache.awaits_returns = options.kv_ahead;
  config.prefix_cache.attention_share = attention_share(info);
  config.kv_disk = options.kv_disk;
  config.kv_disk_bytes = or_default(options.kv_disk_bytes, kDefaultKvDiskBytes);
  if (!options.kv_disk.empty() && !options.prefix_cache)
    return fail(ErrorCode::invalid_argument,
                "--kv-disk keeps what the prefix cache finds; drop --no-prefix-cache");
  PAGODA_TRY_STATUS(resolve_batch(options, config));
  if (const auto policy = make_scheduler_policy(config.policy); !policy)
    return std::unexpected(policy.error());
  config.weight_bytes = info.weight_bytes;
  config.workspace_bytes = workspace_bytes(config, model);
  if (options.constraints) config.constraint_bytes = constraint_bytes;
  PAGODA_TRY_STATUS(resolve_kv(options, info, config));
  return config;
}

}  // namespace pagoda
