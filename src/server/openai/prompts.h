// Prompts that are texts or token ids, one or several: completions and embeddings take them.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "server/openai/generation_request.h"
#include "text/tokenizer.h"

namespace pagoda {

using Prompt = std::variant<std::string, std::vector<int32_t>>;

// The member `name`: a text, a list of token ids, or a list of at most max_prompts of either. None of the
// lists is empty.
void read_prompts(Fields& fields, const std::string& name, const ModelLimits& limits, size_t max_prompts,
                  std::vector<Prompt>& out);

struct EncodedPrompt {
  std::vector<int32_t> tokens;
  bool starts_with_bos = false;  // that the client did not write
};

enum class Bos { as_the_model, never };  // before texts; token ids stay as they are
ApiResult<EncodedPrompt> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt, Bos bos_rule,
                                       const std::string& param);

}  // namespace pagoda
