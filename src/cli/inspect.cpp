#include <algorithm>
#include <map>

#include <boost/json.hpp>

#include "cli/byte_size.h"
#include "cli/json.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "model/vocabulary.h"

namespace pagoda {

namespace {

namespace json = boost::json;

struct TypeTotals {
  int64_t num_tensors = 0;
  int64_t num_elements = 0;
  uint64_t num_bytes = 0;
};

// What a person wants to know of a model file; absent numbers are 0.
struct Summary {
  std::string architecture;
  std::string name;
  int64_t context_length = 0;
  int64_t vocab_size = 0;
  int64_t num_parameters = 0;
  uint64_t tensor_bytes = 0;
  std::map<DType, TypeTotals> types;
  std::string tokenizer_kind;  // "gpt2 (smollm)", "tokenizer.json"; empty: none
  std::string tokenizer_problem;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string chat_template;  // empty: none
};

std::string text_or_empty(const std::string* text) {
  return text == nullptr ? "" : *text;
}

void read_gguf_metadata(const ModelFile& file, Summary& summary) {
  summary.architecture = text_or_empty(file.find_string("general.architecture"));
  summary.name = text_or_empty(file.find_string("general.name"));
  summary.context_length = file.find_int(summary.architecture + ".context_length").value_or(0);
  if (const auto* tokens = file.find_value<std::vector<std::string_view>>("tokenizer.ggml.tokens"))
    summary.vocab_size = static_cast<int64_t>(tokens->size());
  summary.tokenizer_kind = text_or_empty(file.find_string("tokenizer.ggml.model"));
  if (const std::string* pre = file.find_string("tokenizer.ggml.pre"))
    summary.tokenizer_kind += fmt::format(" ({})", *pre);
}

Status read_config(const ModelFile& file, Summary& summary) {
  PAGODA_TRY(const std::string text, file.read_side_file("config.json"));
  json::error_code error;
  const json::value config = json::parse(text, error);
  const json::object* object = error ? nullptr : config.if_object();
  if (object == nullptr) return fail(ErrorCode::corrupt, "{}/config.json: no valid JSON object", file.path());
  const auto number = [&](const char* key) {
    const json::value* value = object->if_contains(key);
    return value != nullptr && value->is_int64() ? value->get_int64() : 0;
  };
  const json::value* type = object->if_contains("model_type");
  if (type != nullptr && type->is_string()) summary.architecture = std::string(type->get_string());
  summary.context_length = std::max(number("max_position_embeddings"), number("n_positions"));
  summary.vocab_size = number("vocab_size");
  if (file.read_side_file("tokenizer.json")) summary.tokenizer_kind = "tokenizer.json";
  return {};
}

Result<Summary> summarise(const ModelFile& file) {
  Summary summary;
  if (file.format() == ModelFormat::gguf)
    read_gguf_metadata(file, summary);
  else
    PAGODA_TRY_STATUS(read_config(file, summary));
  for (const NamedTensor& tensor : file.tensors()) {
    TypeTotals& totals = summary.types[tensor.view.dtype];
    totals.num_tensors += 1;
    totals.num_elements += tensor.view.shape.num_elements();
    totals.num_bytes += tensor.view.data.size();
    summary.num_parameters += tensor.view.shape.num_elements();
    summary.tensor_bytes += tensor.view.data.size();
  }
  if (!summary.tokenizer_kind.empty()) {
    auto tokenizer = load_tokenizer(file);
    if (tokenizer)
      summary.tokenizer = std::move(*tokenizer);
    else
      summary.tokenizer_problem = tokenizer.error().message;
  }
  if (auto source = load_chat_template_source(file)) summary.chat_template = std::move(*source);
  return summary;
}

json::value describe_tokenizer(const Summary& summary) {
  if (summary.tokenizer_kind.empty()) return nullptr;
  json::object object = {{"kind", summary.tokenizer_kind}};
  if (summary.tokenizer == nullptr) {
    object["problem"] = summary.tokenizer_problem;
    return object;
  }
  const Tokenizer& tokenizer = *summary.tokenizer;
  object["tokens"] = tokenizer.vocab_size();
  const auto add_token = [&](const char* name, TokenId id) {
    object[name] =
        id < 0 ? json::value(nullptr) : json::value({{"id", id}, {"text", tokenizer.token_text(id)}});
  };
  add_token("bos", tokenizer.bos_id());
  add_token("eos", tokenizer.eos_id());
  add_token("pad", tokenizer.pad_id());
  object["adds_bos"] = tokenizer.adds_bos();
  return object;
}

json::object to_object(const ModelFile& file, const Summary& summary) {
  json::object object;
  object["path"] = file.path();
  object["format"] = file.format() == ModelFormat::gguf ? "gguf" : "hugging_face";
  object["files"] = json::array(file.files().begin(), file.files().end());
  object["file_bytes"] = file.total_bytes();
  object["architecture"] = summary.architecture;
  object["name"] = summary.name;
  object["context_length"] = summary.context_length;
  object["vocab_size"] = summary.vocab_size;
  object["parameters"] = summary.num_parameters;
  object["tensor_bytes"] = summary.tensor_bytes;
  object["tokenizer"] = describe_tokenizer(summary);
  object["chat_template"] =
      summary.chat_template.empty() ? json::value(nullptr) : json::value(summary.chat_template);
  json::array& types = object["types"].emplace_array();
  for (const auto& [dtype, totals] : summary.types) {
    types.push_back({{"type", std::string(to_string(dtype))},
                     {"tensors", totals.num_tensors},
                     {"elements", totals.num_elements},
                     {"bytes", totals.num_bytes}});
  }
  json::array& tensors = object["tensors"].emplace_array();
  for (const NamedTensor& tensor : file.tensors()) {
    const Shape& shape = tensor.view.shape;
    tensors.push_back({{"name", tensor.name},
                       {"type", std::string(to_string(tensor.view.dtype))},
                       {"shape", json::array(shape.dims, shape.dims + shape.rank)},
                       {"bytes", tensor.view.data.size()},
                       {"offset", tensor.file_offset},
                       {"file", tensor.file_index}});
  }
  return object;
}

void print_field(std::string_view name, const std::string& value) {
  print_line(fmt::format("{} {}", bold(fmt::format("{:<16}", name), Stream::out), value));
}

std::string describe_special_tokens(const Tokenizer& tokenizer) {
  std::string text = fmt::format("{} tokens", tokenizer.vocab_size());
  for (const auto& [name, id] : {std::pair("bos", tokenizer.bos_id()), std::pair("eos", tokenizer.eos_id())})
    if (id >= 0) text += fmt::format(", {} {} {}", name, id, tokenizer.token_text(id));
  return text;
}

void print_summary(const ModelFile& file, const Summary& summary) {
  const std::string_view format = file.format() == ModelFormat::gguf ? "GGUF" : "Hugging Face folder";
  print_field("model",
              summary.name.empty() ? file.path() : fmt::format("{} ({})", summary.name, file.path()));
  print_field("format",
              fmt::format("{}, {} file{}, {}", format, file.files().size(),
                          file.files().size() == 1 ? "" : "s", format_byte_size(file.total_bytes())));
  print_field("architecture", summary.architecture);
  print_field("parameters",
              fmt::format("{:.1f} million", static_cast<double>(summary.num_parameters) * 1e-6));
  print_field("context length", fmt::format("{}", summary.context_length));
  if (summary.tokenizer) {
    print_field("tokenizer",
                fmt::format("{}, {}", summary.tokenizer_kind, describe_special_tokens(*summary.tokenizer)));
  } else {
    print_field("tokenizer", summary.tokenizer_kind.empty() ? "none" : summary.tokenizer_problem);
  }
  print_field("chat template", summary.chat_template.empty() ? "none"
                                                             : fmt::format("{} characters; --json shows it",
                                                                           summary.chat_template.size()));
  print_line("");
  print_line(
      bold(fmt::format("{:<8}{:>9}{:>18}{:>12}", "type", "tensors", "elements", "bytes"), Stream::out));
  for (const auto& [dtype, totals] : summary.types) {
    print_line(fmt::format("{:<8}{:>9}{:>18}{:>12}", to_string(dtype), totals.num_tensors,
                           totals.num_elements, format_byte_size(totals.num_bytes)));
  }
  print_line("");
  print_line(bold(fmt::format("{:<8}{:>18}{:>12}  {}", "type", "shape", "bytes", "tensor"), Stream::out));
  for (const NamedTensor& tensor : file.tensors()) {
    print_line(fmt::format("{:<8}{:>18}{:>12}  {}", to_string(tensor.view.dtype),
                           tensor.view.shape.to_string(), format_byte_size(tensor.view.data.size()),
                           tensor.name));
  }
}

}  // namespace

Status execute(const InspectArguments& arguments) {
  PAGODA_TRY(const auto file, open_model(arguments.model));
  PAGODA_TRY(const Summary summary, summarise(*file));
  if (arguments.json)
    print_line(to_json(to_object(*file, summary)));
  else
    print_summary(*file, summary);
  return {};
}

}  // namespace pagoda
