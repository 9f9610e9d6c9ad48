#include "engine/load_engine.h"

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "engine/page_stores.h"
#include "io/model_file.h"
#include "kernels/kernels.h"
#include "model/load_model.h"
#include "model/vocabulary.h"
#include "text/constraint.h"

namespace pagoda {

namespace {

constexpr int64_t kCostProbeNs = 1'500'000'000;

std::vector<TokenId> all_end_tokens(const GenerationDefaults& defaults, const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens(defaults.end_ids.begin(), defaults.end_ids.end());
  if (tokenizer.eos_id() >= 0) tokens.push_back(tokenizer.eos_id());
  std::ranges::sort(tokens);
  tokens.erase(std::ranges::unique(tokens).begin(), tokens.end());
  return tokens;
}

// A model without a usable template still completes plain prompts.
std::optional<ChatTemplate> load_chat_template(const ModelFile& file) {
  const auto source = load_chat_template_source(file);
  if (!source) {
    if (source.error().code != ErrorCode::not_found)
      PAGODA_WARN("no chat template: {}", source.error().message);
    return std::nullopt;
  }
  auto compiled = ChatTemplate::compile(*source);
  if (compiled) return std::move(*compiled);
  PAGODA_WARN("{}: the chat template does not compile: {}", file.path(), compiled.error().message);
  return std::nullopt;
}

// Everything that turns text into tokens and back.
Status load_text(const ModelFile& file, LoadedEngine& loaded) {
  PAGODA_TRY(loaded.tokenizer, load_tokenizer(file));
  PAGODA_TRY(loaded.defaults, load_generation_defaults(file));
  loaded.chat_template = load_chat_template(file);
  loaded.end_tokens = all_end_tokens(loaded.defaults, *loaded.tokenizer);
  return {};
}

std::string size_text(uint64_t num_bytes) {
  const double mebibytes = static_cast<double>(num_bytes) / 0x1p20;
  return mebibytes < 1024 ? fmt::format("{:.1f} MiB", mebibytes)
                          : fmt::format("{:.2f} GiB", mebibytes / 1024);
}

std::string prefix_cache_text(const EngineConfig& config) {
  if (!config.prefix_cache.enabled) return "prefix cache: off";
  const std::string disk =
      config.kv_disk.empty()
          ? "in memory"
          : fmt::format("in memory and {} of {}", size_text(config.kv_disk_bytes), config.kv_disk);
  return fmt::format("prefix cache: {}", disk);
}

std::vector<std::string> make_banner(const Engine& engine, const MachineInfo& machine, Isa isa) {
  const ModelInfo& model = engine.model_info();
  const EngineConfig& config = engine.config();
  const std::string name = model.name.empty() ? "" : fmt::format(" '{}'", model.name);
  return {
      fmt::format("model: {}{}, {:.1f} M parameters, {} of weights", model.architecture, name,
                  static_cast<double>(model.num_parameters) * 1e-6, size_text(model.weight_bytes)),
      fmt::format("kernels: {} on {} threads, {}", to_string(isa), config.num_threads,
                  machine.cpu.model_name),
      fmt::format("memory: {} at most; KV cache of {} tokens ({}, {}), scratch {}{}",
                  size_text(config.memory_bytes), config.kv_capacity_tokens(), size_text(config.kv_bytes),
                  to_string(model.kv_shape.type), size_text(config.workspace_bytes),
                  config.constraint_bytes > 0
                      ? fmt::format(", constraints {}", size_text(config.constraint_bytes))
                      : ""),
      prefix_cache_text(config),
      fmt::format("batch: {} sequences of at most {} tokens, {} tokens per step, {} scheduling",
                  config.max_sequences, config.max_context, config.max_batch_tokens, config.policy),
  };
}

}  // namespace

Result<LoadedEngine> load_engine(const std::string& model_path, const EngineOptions& options,
                                 std::string_view isa, LoadProgress progress) {
  const MachineInfo machine = inspect_machine();
  PAGODA_TRY(const Resources resources, resolve_resources(options, machine));
  PAGODA_TRY(const Isa chosen_isa, choose_isa(machine.cpu, isa));
  PAGODA_TRY(const auto file, ModelFile::open(model_path));
  LoadedEngine loaded;
  Status text_status;
  std::jthread text_loader([&] { text_status = load_text(*file, loaded); });

  const Kernels& kernels = kernels_for(chosen_isa);
  auto pool = std::make_unique<ThreadPool>(resources.num_threads);
  auto loading = load_model(*file, kernels, *pool,
                            {.kv_type = options.kv_type,
                             .float_activations = options.float_activations,
                             .min_screened_weights = options.min_screened_weights,
                             .max_weight_bytes = resources.memory_bytes,
                             .packed_cache = options.packed_cache,
                             .progress = progress.report,
                             .progress_context = progress.context});
  text_loader.join();
  PAGODA_TRY_STATUS(text_status);
  PAGODA_TRY(auto model, std::move(loading));
  PAGODA_TRY(EngineConfig config,
             resolve(options, *model, machine, ConstraintFactory::memory_bytes(*loaded.tokenizer)));
  config.prefix_cache.fingerprint = kv_fingerprint(*file, *model, options.float_activations);
  Engine::Parts parts{.model = std::move(model),
                      .tokenizer = loaded.tokenizer,
                      .end_tokens = loaded.end_tokens,
                      .pool = std::move(pool),
                      .kernels = &kernels,
                      .clock = std::make_shared<SteadyClock>()};
  if (!config.kv_disk.empty()) parts.open_page_store = disk_store_opener(config);
  PAGODA_TRY(loaded.engine, Engine::create(std::move(config), std::move(parts)));
  if (loaded.engine->config().max_step_ns > 0) loaded.engine->measure_costs(kCostProbeNs);
  loaded.banner = make_banner(*loaded.engine, machine, chosen_isa);
  return loaded;
}

SamplingParams default_sampling(const GenerationDefaults& defaults) {
  SamplingParams params;
  if (defaults.temperature) params.temperature = static_cast<float>(*defaults.temperature);
  if (defaults.top_p && *defaults.top_p > 0) params.top_p = static_cast<float>(*defaults.top_p);
  if (defaults.top_k) params.top_k = static_cast<int32_t>(*defaults.top_k);
  if (defaults.repetition_penalty)
    params.repetition_penalty = static_cast<float>(*defaults.repetition_penalty);
  return params;
}

}  // namespace pagoda
