#include "server/openai/prompts.h"

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

ApiResult<std::vector<int32_t>> token_list(const json::array& ids, const std::string& param,
                                           const ModelLimits& limits) {
  std::vector<int32_t> tokens;
  tokens.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const ApiResult<int64_t> id =
        checked_integer(ids[i], fmt::format("{}[{}]", param, i), {.min = 0, .max = limits.vocab_size - 1});
    if (!id) {
      ApiError error = id.error();
      if (ids[i].is_int64() || ids[i].is_uint64()) error.message += " The token id is out of vocabulary.";
      return std::unexpected(std::move(error));
    }
    tokens.push_back(static_cast<int32_t>(*id));
  }
  return tokens;
}

ApiError empty_prompt(const std::string& param) {
  return bad_parameter(param, "invalid_value",
                       fmt::format("Invalid '{}': a prompt needs at least one token.", param));
}

// A list is one prompt of token ids, or several prompts of either kind.
void read_prompt_list(Fields& fields, const std::string& name, const json::array& list,
                      const ModelLimits& limits, size_t max_prompts, std::vector<Prompt>& out) {
  if (list.empty()) return fields.fail_with(empty_prompt(name));
  if (list[0].is_number()) {
    ApiResult<std::vector<int32_t>> tokens = token_list(list, name, limits);
    if (!tokens) return fields.fail_with(tokens.error());
    out.emplace_back(std::move(*tokens));
    return;
  }
  if (list.size() > max_prompts)
    return fields.fail_with(
        bad_parameter(name, "array_above_max_length",
                      fmt::format("Invalid '{}': array too long. Expected at most {} elements, but got {} "
                                  "instead.",
                                  name, max_prompts, list.size())));
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string param = fmt::format("{}[{}]", name, i);
    if (list[i].is_string()) {
      out.emplace_back(std::string(list[i].get_string()));
    } else if (list[i].is_array()) {
      ApiResult<std::vector<int32_t>> tokens = token_list(list[i].get_array(), param, limits);
      if (!tokens) return fields.fail_with(tokens.error());
      if (tokens->empty()) return fields.fail_with(empty_prompt(param));
      out.emplace_back(std::move(*tokens));
    } else {
      return fields.fail_with(wrong_type(param, "a string or an array of token ids", list[i]));
    }
  }
}

}  // namespace

void read_prompts(Fields& fields, const std::string& name, const ModelLimits& limits, size_t max_prompts,
                  std::vector<Prompt>& out) {
  const json::value* prompt = fields.any(name);
  if (!prompt) return fields.fail_with(missing_parameter(name));
  if (prompt->is_string())
    out.emplace_back(std::string(prompt->get_string()));
  else if (prompt->is_array())
    read_prompt_list(fields, name, prompt->get_array(), limits, max_prompts, out);
  else
    fields.fail_with(wrong_type(name, "a string or an array", *prompt));
}

ApiResult<EncodedPrompt> encode_prompt(const Tokenizer& tokenizer, const Prompt& prompt, Bos bos_rule,
                                       const std::string& param) {
  if (const auto* tokens = std::get_if<std::vector<int32_t>>(&prompt)) return EncodedPrompt{*tokens};
  Result<std::vector<TokenId>> ids = tokenizer.encode(std::get<std::string>(prompt), Specials::parse);
  if (!ids) return std::unexpected(to_api_error(ids.error(), param));
  EncodedPrompt encoded;
  const TokenId bos = tokenizer.bos_id();
  encoded.starts_with_bos = bos_rule == Bos::as_the_model && tokenizer.adds_bos() && bos >= 0 &&
                            (ids->empty() || ids->front() != bos);
  if (encoded.starts_with_bos) encoded.tokens.push_back(bos);
  encoded.tokens.insert(encoded.tokens.end(), ids->begin(), ids->end());
  return encoded;
}

}  // namespace pagoda
