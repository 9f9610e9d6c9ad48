// GGUF files written here from Hugging Face models, with the names, orders and keys that converters use, give
// the very same logits: rotary pairs of q and k, transposed and fused weights, norms with 1 added, tied and
// separate heads.
#include <cmath>

#include <gtest/gtest.h>

#include "model/bits.h"
#include "model/generation_defaults.h"
#include "model/model_runner.h"
#include "support/gguf_writer.h"
#include "tensor/dequantize.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

struct Renaming {
  std::string_view from;
  std::string_view to;
};

// In this order; the first that fits a part of the name wins for that part.
constexpr Renaming kLlamaNames[] = {
    {"model.embed_tokens.", "token_embd."},
    {"model.norm.", "output_norm."},
    {"lm_head.", "output."},
    {"model.layers.", "blk."},
    {"self_attn.q_proj.", "attn_q."},
    {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},
    {"self_attn.o_proj.", "attn_output."},
    {"self_attn.q_norm.", "attn_q_norm."},
    {"self_attn.k_norm.", "attn_k_norm."},
    {"input_layernorm.", "attn_norm."},
    {"mlp.gate_proj.", "ffn_gate."},
    {"mlp.up_proj.", "ffn_up."},
    {"mlp.down_proj.", "ffn_down."},
};
constexpr Renaming kLlamaNorms[] = {{"post_attention_layernorm.", "ffn_norm."}};
constexpr Renaming kGemmaNorms[] = {{"post_attention_layernorm.", "post_attention_norm."},
                                    {"pre_feedforward_layernorm.", "ffn_norm."},
                                    {"post_feedforward_layernorm.", "post_ffw_norm."}};
constexpr Renaming kGpt2Names[] = {
    {"transformer.wte.", "token_embd."},
    {"transformer.wpe.", "position_embd."},
    {"transformer.ln_f.", "output_norm."},
    {"transformer.h.", "blk."},
    {"attn.c_attn.", "attn_qkv."},
    {"attn.c_proj.", "attn_output."},
    {"mlp.c_fc.", "ffn_up."},
    {"mlp.c_proj.", "ffn_down."},
    {"ln_1.", "attn_norm."},
    {"ln_2.", "ffn_norm."},
};

std::string rename(std::string name, std::span<const Renaming> table) {
  for (const Renaming& entry : table)
    if (const size_t at = name.find(entry.from); at != std::string::npos)
      name.replace(at, entry.from.size(), entry.to);
  return name;
}

std::vector<std::byte> bytes_of(const TensorView& view) {
  return {view.data.begin(), view.data.end()};
}

// Halves (i, i + d/2) of each head become neighbours.
std::vector<std::byte> paired_rows(const TensorView& view, int64_t num_heads) {
  const int64_t num_rows = view.shape[0];
  const int64_t head_dim = num_rows / num_heads;
  const size_t row_size = view.data.size() / static_cast<size_t>(num_rows);
  std::vector<std::byte> out(view.data.size());
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t i = row % head_dim;
    const int64_t from = row - i + i % 2 * (head_dim / 2) + i / 2;
    std::copy_n(view.data.begin() + from * static_cast<int64_t>(row_size), row_size,
                out.begin() + row * static_cast<int64_t>(row_size));
  }
  return out;
}

std::vector<std::byte> transposed(const TensorView& view) {
  const size_t size = info(view.dtype).block_bytes;
  const auto rows = static_cast<size_t>(view.shape[0]);
  const auto cols = static_cast<size_t>(view.shape[1]);
  std::vector<std::byte> out(view.data.size());
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < cols; ++c)
      std::copy_n(view.data.begin() + static_cast<std::ptrdiff_t>((r * cols + c) * size), size,
                  out.begin() + static_cast<std::ptrdiff_t>((c * rows + r) * size));
  return out;
}

std::vector<std::byte> with_one_added(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.shape.num_elements()));
  dequantize_row(view.dtype, view.data, values);
  for (float& value : values) value += 1.0f;
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

class GgufTest : public ::testing::Test {
 protected:
  // Adds all tensors of a model, changed as `add` does it.
  template <class Add>
  void add_tensors(const std::string& model, Add&& add) {
    const auto file = value_of(ModelFile::open(model_folder(model)));
    for (const NamedTensor& tensor : file->tensors()) add(tensor.name, tensor.view);
  }

  void add_dimensions(const std::string& architecture, const json::object& config) {
    const auto number = [&](const char* name) { return config.at(name).to_number<uint32_t>(); };
    gguf_.add("general.architecture", architecture);
    gguf_.add("general.name", std::string("Tiny"));
    gguf_.add(architecture + ".block_count", number("num_hidden_layers"));
    gguf_.add(architecture + ".context_length", number("max_position_embeddings"));
    gguf_.add(architecture + ".embedding_length", number("hidden_size"));
    gguf_.add(architecture + ".feed_forward_length", number("intermediate_size"));
    gguf_.add(architecture + ".attention.head_count", number("num_attention_heads"));
    gguf_.add(architecture + ".attention.head_count_kv", number("num_key_value_heads"));
    gguf_.add(architecture + ".attention.layer_norm_rms_epsilon",
              config.at("rms_norm_eps").to_number<float>());
    gguf_.add(architecture + ".rope.freq_base", config.at("rope_theta").to_number<float>());
    if (config.contains("head_dim")) {
      gguf_.add(architecture + ".attention.key_length", number("head_dim"));
      gguf_.add(architecture + ".attention.value_length", number("head_dim"));
    }
  }

  void add_llama_tensors(const std::string& model, const json::object& config) {
    const auto num_heads = config.at("num_attention_heads").to_number<int64_t>();
    const auto num_kv_heads = config.at("num_key_value_heads").to_number<int64_t>();
    add_tensors(model, [&](const std::string& name, const TensorView& view) {
      const bool is_q = name.find("q_proj") != std::string::npos;
      const bool is_k = name.find("k_proj") != std::string::npos;
      gguf_.add_tensor(rename(rename(name, kLlamaNames), kLlamaNorms), view.dtype, view.shape,
                       is_q   ? paired_rows(view, num_heads)
                       : is_k ? paired_rows(view, num_kv_heads)
                              : bytes_of(view));
    });
  }

  std::vector<float> logits_of(const std::string& path, ModelInfo* info = nullptr) {
    const auto model = load(path, best_isa(), pool_);
    if (info != nullptr) *info = model->info();
    return ModelRunner(*model, pool_, {.isa = best_isa()}).run(prompt_, prompt_.size());
  }
  std::vector<float> logits_of_gguf(ModelInfo* info = nullptr) {
    const TempFolder folder;
    const std::string path = folder.path() + "/model.gguf";
    gguf_.write(path);
    return logits_of(path, info);
  }

  GgufWriter gguf_;
  ThreadPool pool_{2};
  std::vector<int32_t> prompt_ = made_up_ids(60, 320, 9);
};

json::object config_of(const std::string& model) {
  return json::parse(read_whole_file(model_folder(model) + "/config.json")).as_object();
}

class LlamaGgufTest : public GgufTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(LlamaGgufTest, SameLogitsAsTheFolder) {
  const json::object config = config_of(GetParam());
  add_dimensions("llama", config);
  add_llama_tensors(GetParam(), config);
  ModelInfo gguf;
  ModelInfo folder;
  const std::vector<float> got = logits_of_gguf(&gguf);
  expect_same_bits(got, logits_of(model_folder(GetParam()), &folder), GetParam());
  EXPECT_EQ(gguf.name, "Tiny");
  EXPECT_EQ(gguf.num_parameters, folder.num_parameters);
  EXPECT_EQ(gguf.max_context, folder.max_context);
}

INSTANTIATE_TEST_SUITE_P(Models, LlamaGgufTest, ::testing::Values("llama_gqa", "llama_tied", "llama_bias"));

// llama3's scaling is stored as divisors of the frequencies.
TEST_F(GgufTest, Llama3RopeFactors) {
  const std::string model = "llama3_rope";
  const json::object config = config_of(model);
  add_dimensions("llama", config);
  add_llama_tensors(model, config);
  // base 500, head_dim 16; wavelengths from 6.3 to 1,445, kept below 32 / 4, divided by 4 above 32.
  std::vector<float> factors;
  for (int i = 0; i < 8; ++i) {
    const double wavelength = 2 * std::acos(-1.0) * std::pow(500.0, i / 8.0);
    const double smooth = (32.0 / wavelength - 1.0) / 3.0;
    factors.push_back(static_cast<float>(wavelength < 8.0    ? 1.0
                                         : wavelength > 32.0 ? 4.0
                                                             : 1.0 / ((1.0 - smooth) / 4.0 + smooth)));
  }
  const auto bytes = std::as_bytes(std::span(factors));
  gguf_.add_tensor("rope_freqs.weight", DType::f32, {1, {8}}, bytes);
  prompt_ = GoldenFile(model_folder(model) + "/golden.safetensors").ints("prompt2.ids");
  const std::vector<float> got = logits_of_gguf();
  const std::vector<float> want = logits_of(model_folder(model));
  ASSERT_EQ(got.size(), want.size());
  double worst = 0.0;
  for (size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
  EXPECT_LT(worst, logits_tolerance(model_folder(model)));
}

TEST_F(GgufTest, Qwen2) {
  add_dimensions("qwen2", config_of("qwen2"));
  add_tensors("qwen2", [&](const std::string& name, const TensorView& view) {
    gguf_.add_tensor(rename(rename(name, kLlamaNames), kLlamaNorms), view.dtype, view.shape, bytes_of(view));
  });
  expect_same_bits(logits_of_gguf(), logits_of(model_folder("qwen2")), "qwen2");
}

TEST_F(GgufTest, Gemma3) {
  json::object config = config_of("gemma3");
  add_dimensions("gemma3", config);
  gguf_.add("gemma3.attention.sliding_window", config.at("sliding_window").to_number<uint32_t>());
  gguf_.add("gemma3.attention.sliding_window_pattern",
            config.at("sliding_window_pattern").to_number<uint32_t>());
  add_tensors("gemma3", [&](const std::string& name, const TensorView& view) {
    const bool is_norm = name.find("norm") != std::string::npos;
    gguf_.add_tensor(rename(rename(name, kLlamaNames), kGemmaNorms), is_norm ? DType::f32 : view.dtype,
                     view.shape, is_norm ? with_one_added(view) : bytes_of(view));
  });
  // GGUF files imply that queries are scaled by the head's size.
  config["query_pre_attn_scalar"] = config.at("head_dim");
  const FolderWithConfig folder(model_folder("gemma3"), json::serialize(config));
  expect_same_bits(logits_of_gguf(), logits_of(folder.path()), "gemma3");
}

TEST_F(GgufTest, Gpt2) {
  const json::object config = config_of("gpt2");
  const auto number = [&](const char* name) { return config.at(name).to_number<uint32_t>(); };
  gguf_.add("general.architecture", std::string("gpt2"));
  gguf_.add("gpt2.block_count", number("n_layer"));
  gguf_.add("gpt2.context_length", number("n_positions"));
  gguf_.add("gpt2.embedding_length", number("n_embd"));
  gguf_.add("gpt2.feed_forward_length", 4 * number("n_embd"));
  gguf_.add("gpt2.attention.head_count", number("n_head"));
  gguf_.add("gpt2.attention.layer_norm_epsilon", config.at("layer_norm_epsilon").to_number<float>());
  add_tensors("gpt2", [&](const std::string& name, const TensorView& view) {
    const bool is_linear = name.find(".c_") != std::string::npos && view.shape.rank == 2;
    const Shape shape = is_linear ? Shape{2, {view.shape[1], view.shape[0]}} : view.shape;
    gguf_.add_tensor(rename(name, kGpt2Names), view.dtype, shape,
                     is_linear ? transposed(view) : bytes_of(view));
  });
  expect_same_bits(logits_of_gguf(), logits_of(model_folder("gpt2")), "gpt2");
}

TEST_F(GgufTest, EndTokensOfChatModels) {
  gguf_.add("general.architecture", std::string("llama"));
  gguf_.add("tokenizer.ggml.eos_token_id", uint32_t{5});
  gguf_.add("tokenizer.ggml.bos_token_id", uint32_t{0});
  gguf_.add("tokenizer.ggml.eot_token_id", uint32_t{1});
  gguf_.add("tokenizer.ggml.tokens",
            std::vector<std::string>{"<s>", "a", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "</s>"});
  gguf_.add("tokenizer.ggml.token_type", std::vector<int32_t>{3, 1, 3, 1, 4, 3});
  const TempFolder folder;
  const std::string path = folder.path() + "/model.gguf";
  gguf_.write(path);
  const auto file = value_of(ModelFile::open(path));
  const GenerationDefaults defaults = value_of(load_generation_defaults(*file));
  EXPECT_EQ(defaults.end_ids, (std::vector<int32_t>{1, 2, 4, 5}));
  EXPECT_EQ(defaults.bos_id, 0);
}

}  // namespace
}  // namespace pagoda::testing
