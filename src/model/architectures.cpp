#include "model/architectures.h"

#include <array>
#include <vector>

#include <fmt/ranges.h>

namespace pagoda {

namespace {

constexpr std::array kArchitectures = {
    Architecture{"llama", "llama", "llama", read_llama},
    Architecture{"mistral", "", "mistral", read_mistral},
    Architecture{"qwen2", "qwen2", "qwen2", read_qwen2},
    Architecture{"gemma3", "gemma3", "gemma3_text", read_gemma3},
    Architecture{"gemma3", "", "gemma3", read_gemma3},
    Architecture{"gpt2", "gpt2", "gpt2", read_gpt2},
    Architecture{"opt", "", "opt", read_opt},
};

}  // namespace

std::span<const Architecture> known_architectures() {
  return kArchitectures;
}

Result<const Architecture*> find_architecture(const ConfigReader& config) {
  std::vector<std::string_view> known;
  for (const Architecture& architecture : kArchitectures) {
    const std::string_view name = config.is_gguf() ? architecture.gguf_name : architecture.hf_model_type;
    if (name.empty()) continue;
    if (name == config.architecture()) return &architecture;
    known.push_back(name);
  }
  return fail(ErrorCode::unsupported, "{}: the architecture '{}' is not supported; known are {}",
              config.file().path(), config.architecture(), fmt::join(known, ", "));
}

}  // namespace pagoda
