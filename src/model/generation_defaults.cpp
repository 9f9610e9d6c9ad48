#include "model/generation_defaults.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <boost/json.hpp>

namespace pagoda {

namespace {

namespace json = boost::json;

// Tokens that end a turn in known chat formats, whether or not a file's metadata says so.
constexpr std::array<std::string_view, 7> kTurnEnds = {
    "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<|eom_id|>"};
constexpr std::array<std::string_view, 3> kEndKeys = {
    "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
constexpr int64_t kControl = 3;  // tokenizer.ggml.token_type
constexpr int64_t kUserDefined = 4;

void add_id(int64_t id, std::vector<int32_t>& ids) {
  if (id >= 0 && id <= INT32_MAX) ids.push_back(static_cast<int32_t>(id));
}

void add_ids(const json::value* value, std::vector<int32_t>& ids) {
  if (value == nullptr) return;
  if (const int64_t* id = value->if_int64()) add_id(*id, ids);
  if (const json::array* list = value->if_array())
    for (const json::value& element : *list) add_ids(&element, ids);
}

std::optional<double> number_in(const json::object& object, std::string_view name, double min, double max) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  const auto number = value->to_number<double>();
  if (!(number >= min && number <= max)) return std::nullopt;
  return number;
}

Result<json::object> read_object(const ModelFile& file, std::string_view name) {
  auto text = file.read_side_file(name);
  if (!text && text.error().code == ErrorCode::not_found) return json::object();
  if (!text) return std::unexpected(text.error());
  json::error_code error;
  json::value value = json::parse(*text, error);
  if (error || !value.is_object())
    return fail(ErrorCode::corrupt, "{}/{}: no valid JSON object", file.path(), name);
  return std::move(value.get_object());
}

void read_settings(const json::object& object, GenerationDefaults& defaults) {
  add_ids(object.if_contains("eos_token_id"), defaults.end_ids);
  std::vector<int32_t> bos;
  add_ids(object.if_contains("bos_token_id"), bos);
  if (!bos.empty() && !defaults.bos_id) defaults.bos_id = bos.front();
}

Result<GenerationDefaults> from_hugging_face(const ModelFile& file) {
  GenerationDefaults defaults;
  PAGODA_TRY(const json::object generation, read_object(file, "generation_config.json"));
  PAGODA_TRY(const json::object config, read_object(file, "config.json"));
  read_settings(generation, defaults);
  read_settings(config, defaults);
  const json::value* text = config.if_contains("text_config");
  if (text != nullptr && text->is_object()) read_settings(text->get_object(), defaults);
  defaults.temperature = number_in(generation, "temperature", 0.0, 100.0);
  defaults.top_p = number_in(generation, "top_p", 0.0, 1.0);
  defaults.repetition_penalty = number_in(generation, "repetition_penalty", 1e-3, 100.0);
  if (const auto top_k = number_in(generation, "top_k", 0.0, 1e9); top_k && *top_k == std::floor(*top_k))
    defaults.top_k = static_cast<int64_t>(*top_k);
  return defaults;
}

GenerationDefaults from_gguf(const ModelFile& file) {
  GenerationDefaults defaults;
  for (const std::string_view key : kEndKeys) add_id(file.find_int(key).value_or(-1), defaults.end_ids);
  if (const auto bos = file.find_int("tokenizer.ggml.bos_token_id"); bos && *bos >= 0 && *bos <= INT32_MAX)
    defaults.bos_id = static_cast<int32_t>(*bos);
  const auto* tokens = file.find_value<std::vector<std::string_view>>("tokenizer.ggml.tokens");
  if (tokens == nullptr) return defaults;
  const auto* types = file.find_value<std::vector<int64_t>>("tokenizer.ggml.token_type");
  for (size_t id = 0; id < tokens->size(); ++id) {
    const std::string_view token = (*tokens)[id];
    if (token.empty() || token[0] != '<' ||
        std::find(kTurnEnds.begin(), kTurnEnds.end(), token) == kTurnEnds.end())
      continue;
    const int64_t type = types != nullptr && id < types->size() ? (*types)[id] : kControl;
    if (type == kControl || type == kUserDefined) add_id(static_cast<int64_t>(id), defaults.end_ids);
  }
  return defaults;
}

}  // namespace

Result<GenerationDefaults> load_generation_defaults(const ModelFile& file) {
  GenerationDefaults defaults;
  if (file.format() == ModelFormat::gguf) {
    defaults = from_gguf(file);
  } else {
    PAGODA_TRY(defaults, from_hugging_face(file));
  }
  std::sort(defaults.end_ids.begin(), defaults.end_ids.end());
  defaults.end_ids.erase(std::unique(defaults.end_ids.begin(), defaults.end_ids.end()),
                         defaults.end_ids.end());
  return defaults;
}

}  // namespace pagoda
