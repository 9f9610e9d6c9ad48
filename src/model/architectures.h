// The registry: one row per architecture. To add a model, write its file and add a row.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/config_reader.h"
#include "model/decoder_spec.h"

namespace pagoda {

// Reads and checks a configuration; errors go to the reader.
using ReadArchitecture = void (*)(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout);

struct Architecture {
  std::string_view name;           // shown to users
  std::string_view gguf_name;      // general.architecture; empty: no such GGUF files
  std::string_view hf_model_type;  // empty: no such Hugging Face folders
  ReadArchitecture read;
};

std::span<const Architecture> known_architectures();
// `unsupported` with the list of known ones.
Result<const Architecture*> find_architecture(const ConfigReader& config);

void read_llama(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout);
void read_mistral(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout);
void read_qwen2(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout);
void read_gemma3(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout);
void read_gpt2(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout);
void read_opt(ConfigReader& config, DecoderSpec& spec, WeightLayout& layout);

}  // namespace pagoda
