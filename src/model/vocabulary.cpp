#include "model/vocabulary.h"

#include <algorithm>
#include <array>

#include <boost/json.hpp>

namespace pagoda {

namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

std::string key(std::string_view name) {
  return std::string(kPrefix).append(name);
}

// Absent, or without a token as -1 in 32 bits, means none.
Result<TokenId> read_id(const ModelFile& file, std::string_view name) {
  const int64_t id = file.find_int(key(name)).value_or(-1);
  if (id == UINT32_MAX) return -1;
  if (id < -1 || id > INT32_MAX) return fail(ErrorCode::corrupt, "{}: {} is {}", file.path(), key(name), id);
  return static_cast<TokenId>(id);
}

// Files made before these flags existed leave them out.
bool adds_bos_by_default(const VocabularySpec& spec) {
  constexpr std::array<std::string_view, 6> kLlama3 = {"llama-bpe", "llama3",  "llama-v3",
                                                       "falcon3",   "pixtral", "lfm2"};
  return spec.model == "llama" || std::ranges::find(kLlama3, spec.pre) != kLlama3.end();
}

// Its texts are views into the file.
Result<VocabularySpec> read_gguf_vocabulary(const ModelFile& file) {
  VocabularySpec spec;
  const std::string* model = file.find_string(key("model"));
  const auto* tokens = file.find_value<std::vector<std::string_view>>(key("tokens"));
  if (model == nullptr || tokens == nullptr)
    return fail(ErrorCode::not_found, "{} holds no tokenizer ({} and {})", file.path(), key("model"),
                key("tokens"));
  spec.model = *model;
  spec.tokens = *tokens;
  if (const std::string* pre = file.find_string(key("pre"))) spec.pre = *pre;
  if (const auto* scores = file.find_value<std::vector<double>>(key("scores")))
    spec.scores.assign(scores->begin(), scores->end());
  if (const auto* types = file.find_value<std::vector<int64_t>>(key("token_type"))) {
    spec.types.reserve(types->size());
    for (const int64_t type : *types)
      spec.types.push_back(static_cast<int32_t>(std::clamp<int64_t>(type, -1, 127)));
  }
  if (const auto* merges = file.find_value<std::vector<std::string_view>>(key("merges")))
    spec.merges = *merges;
  PAGODA_TRY(spec.bos_id, read_id(file, "bos_token_id"));
  PAGODA_TRY(spec.eos_id, read_id(file, "eos_token_id"));
  PAGODA_TRY(spec.unk_id, read_id(file, "unknown_token_id"));
  PAGODA_TRY(spec.pad_id, read_id(file, "padding_token_id"));
  spec.add_bos = file.find_bool(key("add_bos_token")).value_or(adds_bos_by_default(spec));
  spec.add_space_prefix = file.find_bool(key("add_space_prefix")).value_or(spec.model == "llama");
  return spec;
}

// Empty if the folder has no such file.
Result<std::string> read_optional(const ModelFile& file, std::string_view name) {
  Result<std::string> text = file.read_side_file(name);
  if (!text && text.error().code == ErrorCode::not_found) return std::string();
  return text;
}

template <class T>
Result<T> with_path(const ModelFile& file, Result<T> result) {
  if (!result) result.error().message = fmt::format("{}: {}", file.path(), result.error().message);
  return result;
}

// A template, or a list of {"name", "template"}.
const boost::json::value* find_template(const boost::json::value& config) {
  const auto* object = config.if_object();
  const auto* found = object == nullptr ? nullptr : object->if_contains("chat_template");
  if (found == nullptr || !found->is_array()) return found;
  for (const boost::json::value& entry : found->get_array()) {
    const auto* named = entry.if_object();
    const auto* name = named == nullptr ? nullptr : named->if_contains("name");
    if (name != nullptr && name->is_string() && name->get_string() == "default")
      return named->if_contains("template");
  }
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const ModelFile& file) {
  if (file.format() == ModelFormat::gguf) {
    PAGODA_TRY(const VocabularySpec spec, read_gguf_vocabulary(file));
    return with_path(file, make_tokenizer(spec));
  }
  PAGODA_TRY(const std::string tokenizer, file.read_side_file("tokenizer.json"));
  PAGODA_TRY(const std::string config, read_optional(file, "tokenizer_config.json"));
  return with_path(file, make_tokenizer_from_json(tokenizer, config));
}

Result<std::string> load_chat_template_source(const ModelFile& file) {
  if (file.format() == ModelFormat::gguf) {
    if (const std::string* source = file.find_string("tokenizer.chat_template")) return *source;
    return fail(ErrorCode::not_found, "{} holds no chat template (tokenizer.chat_template)", file.path());
  }
  PAGODA_TRY(std::string source, read_optional(file, "chat_template.jinja"));
  if (!source.empty()) return source;
  PAGODA_TRY(const std::string config_text, read_optional(file, "tokenizer_config.json"));
  if (!config_text.empty()) {
    boost::system::error_code error;
    const boost::json::value config = boost::json::parse(config_text, error);
    if (error)
      return fail(ErrorCode::corrupt, "{}/tokenizer_config.json is no JSON: {}", file.path(),
                  error.message());
    if (const auto* found = find_template(config); found != nullptr && found->is_string())
      return std::string(found->get_string());
  }
  return fail(ErrorCode::not_found,
              "{} holds no chat template (chat_template.jinja, or chat_template in "
              "tokenizer_config.json)",
              file.path());
}

}  // namespace pagoda
