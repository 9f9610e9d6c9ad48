// Damaged, absurd and unknown configurations end in one sentence that names what is wrong.
#include <cstring>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/linear.h"
#include "model/bits.h"
#include "model/model_folder.h"
#include "support/safetensors_writer.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

Result<std::unique_ptr<Model>> try_load(const std::string& path, const LoadOptions& options = {}) {
  ThreadPool pool(1);
  PAGODA_TRY(const std::unique_ptr<ModelFile> file, ModelFile::open(path));
  return load_model(*file, kernels_for(best_isa()), pool, options);
}

// llama_gqa with another header of its weights.
Result<std::unique_ptr<Model>> load_with_header(const std::function<void(json::object&)>& change) {
  const std::string folder = model_folder("llama_gqa");
  const std::string file = read_whole_file(folder + "/model.safetensors");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  json::object header = json::parse(file.substr(sizeof header_bytes, header_bytes)).as_object();
  change(header);
  const TempFolder changed;
  std::ofstream(changed.path() + "/config.json") << read_whole_file(folder + "/config.json");
  std::ofstream(changed.path() + "/model.safetensors", std::ios::binary)
      << safetensors_file(json::serialize(header), file.substr(sizeof header_bytes + header_bytes));
  return try_load(changed.path());
}

TEST(OtherTypes, AreRefusedOnlyWhereTheyAreNeeded) {
  const auto unneeded = load_with_header([](json::object& header) {
    header["model.position_ids"] = {{"dtype", "I64"}, {"shape", {1, 2}}, {"data_offsets", {0, 16}}};
    header["model.mask"] = {{"dtype", "BOOL"}, {"shape", {4}}, {"data_offsets", {0, 4}}};
  });
  EXPECT_TRUE(unneeded) << unneeded.error().message;
  for (const char* name :
       {"model.norm.weight", "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"}) {
    const auto needed =
        load_with_header([&](json::object& header) { header[name].as_object()["dtype"] = "I32"; });
    ASSERT_FALSE(needed);
    EXPECT_EQ(needed.error().code, ErrorCode::unsupported);
    EXPECT_THAT(needed.error().message, HasSubstr(fmt::format("tensor '{}' has the dtype 'I32'", name)));
  }
}

struct HostileCase {
  const char* label;
  const char* model;
  std::function<void(json::object&)> damage;
  ErrorCode code;
  const char* says;
};

class HostileConfigTest : public ::testing::TestWithParam<HostileCase> {};

TEST_P(HostileConfigTest, IsRefusedInASentence) {
  const HostileCase& tested = GetParam();
  const std::string folder = model_folder(tested.model);
  json::object config = json::parse(read_whole_file(folder + "/config.json")).as_object();
  tested.damage(config);
  const FolderWithConfig damaged(folder, json::serialize(config));
  const auto model = try_load(damaged.path());
  ASSERT_FALSE(model.has_value());
  EXPECT_EQ(model.error().code, tested.code) << model.error().message;
  EXPECT_THAT(model.error().message, HasSubstr(tested.says));
}

std::function<void(json::object&)> set(std::string_view name, json::value value) {
  return [=](json::object& config) { config[name] = value; };
}
std::function<void(json::object&)> erase(std::string_view name) {
  return [=](json::object& config) { config.erase(name); };
}

std::vector<HostileCase> hostile_cases() {
  constexpr auto corrupt = ErrorCode::corrupt;
  constexpr auto unsupported = ErrorCode::unsupported;
  const json::object no_object;
  return {
      {"more_layers_than_stored", "llama_gqa", set("num_hidden_layers", 4), corrupt,
       "'model.layers.3.input_layernorm.weight' is missing"},
      {"bias_not_stored", "llama_gqa", set("attention_bias", true), corrupt,
       "'model.layers.0.self_attn.q_proj.bias' is missing"},
      {"other_intermediate_size", "llama_gqa", set("intermediate_size", 64), corrupt,
       "'model.layers.0.mlp.gate_proj.weight' has the shape [128, 64]"},
      {"other_vocabulary", "llama_gqa", set("vocab_size", 513), corrupt,
       "'model.embed_tokens.weight' has the shape [512, 64]"},
      {"other_kv_heads", "llama_gqa", set("num_key_value_heads", 4), corrupt,
       "'model.layers.0.self_attn.k_proj.weight'"},
      {"other_head_dim", "llama_gqa", set("head_dim", 32), corrupt,
       "'model.layers.0.self_attn.q_proj.weight'"},
      {"longer_context_than_table", "gpt2", set("n_positions", 300), corrupt,
       "'transformer.wpe.weight' has the shape [256, 64]"},
      {"untied_without_head", "llama_tied", set("tie_word_embeddings", false), corrupt,
       "'lm_head.weight' is missing"},
      {"zero_heads", "llama_gqa", set("num_attention_heads", 0), corrupt, "'num_attention_heads' is 0"},
      {"negative_layers", "llama_gqa", set("num_hidden_layers", -1), corrupt, "'num_hidden_layers' is -1"},
      {"absurd_layers", "llama_gqa", set("num_hidden_layers", 1e18), corrupt, "whole number from 1 to 1024"},
      {"absurd_vocabulary", "llama_gqa", set("vocab_size", UINT64_MAX), corrupt, "'vocab_size'"},
      {"absurd_hidden_size", "llama_gqa", set("hidden_size", 1e300), corrupt, "'hidden_size'"},
      {"fraction_of_a_head", "llama_gqa", set("num_attention_heads", 2.5), corrupt,
       "'num_attention_heads' is 2.5"},
      {"text_for_a_number", "llama_gqa", set("hidden_size", "64"), corrupt,
       "'hidden_size' must be a finite number"},
      {"number_for_a_flag", "llama_gqa", set("tie_word_embeddings", 1), corrupt,
       "'tie_word_embeddings' must be true or false"},
      {"missing_hidden_size", "llama_gqa", erase("hidden_size"), corrupt, "'hidden_size' is missing"},
      {"null_layers", "llama_gqa", set("num_hidden_layers", nullptr), corrupt,
       "'num_hidden_layers' is missing"},
      {"missing_context", "llama_gqa", erase("max_position_embeddings"), corrupt,
       "'max_position_embeddings' is missing"},
      {"heads_do_not_divide", "llama_gqa", set("num_attention_heads", 6), corrupt,
       "64 cannot be split over 6"},
      {"kv_heads_do_not_divide", "llama_gqa", set("num_key_value_heads", 3), corrupt,
       "4 attention heads cannot share 3"},
      {"odd_head_dim", "llama_gqa", set("head_dim", 15), unsupported, "15 dimensions"},
      {"zero_epsilon", "llama_gqa", set("rms_norm_eps", 0.0), corrupt, "epsilon"},
      {"unknown_activation", "llama_gqa", set("hidden_act", "mish"), unsupported, "'mish'"},
      {"unknown_architecture", "llama_gqa", set("model_type", "warpdrive"), unsupported,
       "'warpdrive' is not supported; known are llama, mistral"},
      {"no_architecture", "llama_gqa", erase("model_type"), corrupt, "model_type"},
      {"unknown_rope", "llama3_rope",
       [](json::object& c) { c["rope_scaling"].as_object()["rope_type"] = "dynamic"; }, unsupported,
       "'dynamic'"},
      {"zero_rope_factor", "llama3_rope",
       [](json::object& c) { c["rope_scaling"].as_object()["factor"] = 0; }, corrupt, "rope"},
      {"rope_ramp_upside_down", "llama3_rope",
       [](json::object& c) { c["rope_scaling"].as_object()["high_freq_factor"] = 0.5; }, corrupt, "rope"},
      {"negative_rope_base", "llama_gqa", set("rope_theta", -1.0), corrupt, "rope"},
      {"too_much_rotation", "llama_gqa", set("partial_rotary_factor", 1e30), corrupt, "rope turns"},
      {"negative_window", "mistral", set("sliding_window", -3), corrupt, "'sliding_window' is -3"},
      {"layer_types_too_short", "gemma3", set("layer_types", json::array{"full_attention"}), corrupt,
       "1 entries for 4 layers"},
      {"layer_types_of_numbers", "gemma3", set("layer_types", json::array{1, 2, 3, 4}), corrupt,
       "list of strings"},
      {"bad_query_scalar", "gemma3", set("query_pre_attn_scalar", 0), corrupt, "query_pre_attn_scalar"},
      {"norms_after_blocks", "opt", set("do_layer_norm_before", false), unsupported, "norms"},
      {"projected_embeddings", "opt", set("word_embed_proj_dim", 48), unsupported, "embeddings"},
      {"unscaled_attention", "gpt2", set("scale_attn_weights", false), unsupported, "attention"},
      {"quantised_folder", "llama_gqa", set("quantization_config", no_object), unsupported,
       "quantization_config"},
  };
}

INSTANTIATE_TEST_SUITE_P(Cases, HostileConfigTest, ::testing::ValuesIn(hostile_cases()),
                         [](const auto& tested) { return std::string(tested.param.label); });

TEST(HostileConfig, NoJson) {
  for (const char* text : {"", "{", "[1, 2]", "{\"model_type\": 3}"}) {
    const FolderWithConfig damaged(model_folder("llama_gqa"), text);
    const auto model = try_load(damaged.path());
    ASSERT_FALSE(model.has_value()) << text;
    EXPECT_EQ(model.error().code, ErrorCode::corrupt) << text;
    EXPECT_THAT(model.error().message, HasSubstr("config.json"));
  }
}

TEST(LoadModel, RefusesMoreMemoryThanAllowed) {
  LoadOptions options;
  options.max_weight_bytes = 100'000;
  const auto model = try_load(model_folder("llama_gqa"), options);
  ASSERT_FALSE(model.has_value());
  EXPECT_EQ(model.error().code, ErrorCode::out_of_memory);
  EXPECT_THAT(model.error().message, HasSubstr("100000"));
}

TEST(LoadModel, ReportsProgressUpToOne) {
  std::vector<double> reports;
  LoadOptions options;
  options.progress = [](void* context, double fraction) {
    static_cast<std::vector<double>*>(context)->push_back(fraction);
  };
  options.progress_context = &reports;
  ASSERT_TRUE(try_load(model_folder("llama_gqa"), options).has_value());
  ASSERT_GT(reports.size(), 1u);
  EXPECT_TRUE(std::is_sorted(reports.begin(), reports.end()));
  EXPECT_DOUBLE_EQ(reports.back(), 1.0);
}

TEST(LoadModel, DescribesTheModel) {
  const auto model = try_load(model_folder("llama_gqa"));
  ASSERT_TRUE(model.has_value());
  const ModelInfo& info = (*model)->info();
  EXPECT_EQ(info.architecture, "llama");
  EXPECT_EQ(info.vocab_size, 512);
  EXPECT_EQ(info.max_context, 512);
  EXPECT_EQ(info.num_parameters, 176576);  // manifest.json
  constexpr uint64_t kLayerMacs = 64 * 64 * 2 + 64 * 32 * 2 + 64 * 128 * 3;
  EXPECT_EQ(info.macs_per_token, 3 * kLayerMacs);
  EXPECT_EQ(info.head_macs, 512u * 64u);
  // bf16: groups of rows in three layers, and in the head.
  const Packing packing = kernels_for(best_isa()).linear.bf16_packing;
  const auto rows = static_cast<uint64_t>(rows_per_group(packing));
  const uint64_t packed_bytes = (3 * (64 + 64 + 32 + 32 + 128 + 128) / rows + 512 / rows) *
                                    packed_group_bytes(DType::bf16, packing, 64) +
                                3 * 64 / rows * packed_group_bytes(DType::bf16, packing, 128);
  EXPECT_EQ(info.bytes_per_token, packed_bytes);
  // And seven norms. The embeddings stay in the file.
  EXPECT_EQ(info.weight_bytes, packed_bytes + 7 * 64 * sizeof(float));
  EXPECT_EQ(info.kv_shape, (KvShape{3, 2, 16, KvType::f32}));
}

TEST(LoadModel, HoldsTiedEmbeddingsOnce) {
  const auto model = try_load(model_folder("llama_tied"));
  ASSERT_TRUE(model.has_value());
  const ModelInfo& info = (*model)->info();
  EXPECT_LT(info.weight_bytes, 4 * static_cast<uint64_t>(info.num_parameters) + 4096);
}

TEST(LoadModel, GemmaInsideALargerModel) {
  const std::string folder = model_folder("gemma3");
  json::object config;
  config["model_type"] = "gemma3";
  config["text_config"] = json::parse(read_whole_file(folder + "/config.json"));
  const FolderWithConfig nested(folder, json::serialize(config));
  const auto model = try_load(nested.path());
  ASSERT_TRUE(model.has_value()) << model.error().message;
  EXPECT_EQ((*model)->info().num_parameters, (*try_load(folder))->info().num_parameters);
}

}  // namespace
}  // namespace pagoda::testing
