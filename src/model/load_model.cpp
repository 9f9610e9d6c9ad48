#include "model/load_model.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/log.h"
#include "model/architectures.h"
#include "model/config_reader.h"
#include "model/decoder.h"
#include "model/plan_weights.h"
#include "weights/packed_cache.h"

namespace pagoda {

namespace {

// Buffers that old files carry beside the weights, and the copy of a tied output projection.
bool is_known_extra(std::string_view name) {
  constexpr std::array<std::string_view, 4> kSuffixes = {"rotary_emb.inv_freq", ".attn.bias",
                                                         ".attn.masked_bias", "lm_head.weight"};
  return std::any_of(kSuffixes.begin(), kSuffixes.end(),
                     [&](std::string_view end) { return name.ends_with(end); });
}

void warn_of_unused(const ModelFile& file, const WeightPlan& plan) {
  std::vector<std::string> unused = plan.unused_tensors();
  std::erase_if(unused, is_known_extra);
  if (unused.empty()) return;
  PAGODA_WARN("{}: {} tensors are not used, such as '{}'; the results may be wrong", file.path(),
              unused.size(), unused.front());
}

// Sums over the linear layers.
struct LinearTotals {
  uint64_t packed_bytes = 0;
  uint64_t macs = 0;
  bool all_float = true;
  FormatSet formats;

  void add(const LinearWeight& linear) {
    if (!linear.exists()) return;
    const PackedWeight& matrix = linear.matrix;
    packed_bytes +=
        static_cast<uint64_t>(matrix.num_groups()) * (matrix.group_bytes() + matrix.details_bytes());
    macs += static_cast<uint64_t>(matrix.num_rows) * static_cast<uint64_t>(matrix.num_cols);
    all_float = all_float && is_float(matrix.dtype);
    formats.add(linear);
  }
  void add(const DecoderLayerWeights& layer) {
    const AttentionWeights& attention = layer.attention;
    for (const LinearWeight* linear :
         {&attention.q_proj, &attention.k_proj, &attention.v_proj, &attention.o_proj})
      add(*linear);
    for (const LinearWeight* linear : {&layer.ffn.gate_proj, &layer.ffn.up_proj, &layer.ffn.down_proj})
      add(*linear);
  }
};

std::string model_name(const ConfigReader& config) {
  const std::string* name = config.file().find_string("general.name");
  return name == nullptr ? std::string() : *name;
}

KvShape kv_shape(const DecoderSpec& spec, std::optional<KvType> type, bool all_float) {
  KvShape shape;
  shape.num_layers = static_cast<int>(spec.layers.size());
  shape.num_kv_heads = spec.attention.num_kv_heads;
  shape.head_dim = spec.attention.head_dim;
  shape.type = type.value_or(all_float ? KvType::f32 : KvType::bf16);
  return shape;
}

Status check_quantization(ConfigReader& config) {
  if (!config.is_gguf() && config.has({"quantization_config", ""}))
    return fail(ErrorCode::unsupported,
                "{}: the weights are quantised in a Hugging Face format (quantization_config); use the "
                "original model "
                "or a GGUF file",
                config.file().path());
  return {};
}

}  // namespace

Result<std::unique_ptr<Model>> load_model(const ModelFile& file, const Kernels& kernels, ThreadPool& pool,
                                          const LoadOptions& options) {
  PAGODA_TRY(ConfigReader config, ConfigReader::open(file));
  PAGODA_TRY(const Architecture* architecture, find_architecture(config));
  PAGODA_TRY_STATUS(check_quantization(config));
  DecoderSpec spec;
  WeightLayout layout;
  architecture->read(config, spec, layout);
  PAGODA_TRY_STATUS(config.status());

  WeightPlan plan(file, options.float_activations, kernels.linear.bf16_packing);
  DecoderWeights weights;
  // Equal logits may come of unequal ones where they are capped, and then the smallest index counts.
  const bool outline_head =
      spec.final_softcap == 0.0f && spec.vocab_size * spec.hidden_size >= options.min_screened_weights;
  PAGODA_TRY_STATUS(plan_weights(file, spec, layout, outline_head, plan, weights));
  warn_of_unused(file, plan);
  const std::string cache_path = options.packed_cache ? packed_cache_path(file, *options.packed_cache) : "";
  PAGODA_TRY(AlignedBuffer memory,
             plan.load(kernels.linear, pool, {options.progress, options.progress_context}, cache_path,
                       options.max_weight_bytes));
  DecoderOuterWeights outer = weights.outer;
  if (!outer.token_embedding.exists())
    outer.token_embedding = {.dtype = outer.head.matrix.dtype,
                             .num_rows = spec.vocab_size,
                             .num_cols = spec.hidden_size,
                             .packed = outer.head.matrix};

  LinearTotals totals;
  for (const DecoderLayerWeights& layer : weights.layers) totals.add(layer);
  ModelInfo info;
  info.macs_per_token = totals.macs;
  totals.add(outer.head);
  info.head_macs = totals.macs - info.macs_per_token;
  info.bytes_per_token = totals.packed_bytes;
  info.screened_bytes_per_token =
      totals.packed_bytes -
      static_cast<uint64_t>(outer.head.matrix.num_groups()) * outer.head.matrix.details_bytes();
  info.architecture = architecture->name;
  info.name = model_name(config);
  info.vocab_size = spec.vocab_size;
  info.hidden_size = spec.hidden_size;
  info.max_context = spec.max_context;
  info.num_parameters = plan.num_parameters();
  info.kv_shape = kv_shape(spec, options.kv_type, totals.all_float);
  info.num_query_heads = spec.attention.num_heads;
  for (const DecoderSpec::Layer& layer : spec.layers) info.layer_windows.push_back(layer.window);
  info.weight_bytes = plan.num_bytes();
  auto store =
      std::make_unique<ResidentWeights>(std::move(memory), plan.files_of_tables(), std::move(weights.layers));
  return std::make_unique<Decoder>(std::move(spec), std::move(info), outer, std::move(store), totals.formats);
}

}  // namespace pagoda
