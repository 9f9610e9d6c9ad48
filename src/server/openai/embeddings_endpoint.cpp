// POST /v1/embeddings.
#include <bit>
#include <cmath>
#include <cstring>

#include <boost/json.hpp>

#include "server/endpoint.h"
#include "server/openai/accepted_fields.h"
#include "server/openai/embedding_operation.h"
#include "server/openai/generation.h"
#include "server/openai/json_body.h"
#include "server/openai/prompts.h"

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr size_t kMaxInputs = 2048;  // as OpenAI has it

enum class Encoding { floats, base64 };

struct EmbeddingRequest {
  GenerationRequest generation;  // model, truncation and BOS; nothing is generated
  std::vector<Prompt> inputs;
  Encoding encoding = Encoding::floats;
};

void read_encoding(Fields& fields, Encoding& out) {
  std::string format = "float";
  fields.string("encoding_format", format);
  if (format != "float" && format != "base64")
    return fields.fail_with(bad_parameter("encoding_format", "invalid_value",
                                          "Invalid 'encoding_format': expected 'float' or 'base64'."));
  if (format == "base64") out = Encoding::base64;
}

void read_dimensions(Fields& fields, int64_t hidden_size) {
  std::optional<int64_t> dimensions;
  fields.integer("dimensions", {.min = 1}, dimensions);
  if (dimensions && *dimensions != hidden_size)
    fields.fail_with(unsupported_parameter(
        "dimensions",
        fmt::format("'dimensions' can only be {}, the size of this model's vectors, but {} were "
                    "asked for: they cannot be shortened.",
                    hidden_size, *dimensions)));
}

void refuse_empty_texts(Fields& fields, const std::vector<Prompt>& inputs) {
  for (const Prompt& input : inputs)
    if (const auto* text = std::get_if<std::string>(&input); text && text->empty())
      fields.fail_with(bad_parameter("input", "invalid_value", "Invalid 'input': a text must not be empty."));
}

ApiResult<EmbeddingRequest> parse_embedding_request(std::string_view body, const ModelLimits& limits,
                                                    int64_t hidden_size) {
  const ApiResult<json::object> object = parse_json_object(body);
  if (!object) return std::unexpected(object.error());
  Fields fields(*object);
  EmbeddingRequest request;
  GenerationRequest& generation = request.generation;
  generation.max_tokens = 0;
  fields.string("model", generation.model);
  read_encoding(fields, request.encoding);
  read_dimensions(fields, hidden_size);
  read_request_fields(fields, generation);
  check_accepted_fields(fields);
  read_prompts(fields, "input", limits, kMaxInputs, request.inputs);
  refuse_empty_texts(fields, request.inputs);
  if (auto error = finish_reading(fields, generation)) return std::unexpected(std::move(*error));
  return request;
}

// To length 1, as all similarity searches expect it; summed in order.
void normalise(std::vector<float>& vector) {
  double sum = 0;
  for (const float value : vector) sum += static_cast<double>(value) * static_cast<double>(value);
  const double scale = sum > 0 ? 1.0 / std::sqrt(sum) : 0.0;
  for (float& value : vector) value = static_cast<float>(static_cast<double>(value) * scale);
}

void append_floats(const std::vector<float>& vector, std::string& out) {
  out += '[';
  for (size_t i = 0; i < vector.size(); ++i) {
    if (i > 0) out += ',';
    fmt::format_to(std::back_inserter(out), "{}", vector[i]);
  }
  out += ']';
}

// RFC 4648 of the values' bytes, least significant first.
void append_base64(const std::vector<float>& vector, std::string& out) {
  static_assert(std::endian::native == std::endian::little);
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto bytes = std::as_bytes(std::span(vector));
  out += '"';
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < left ? std::to_integer<uint32_t>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) out += j <= left ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  out += '"';
}

HttpResponse present(const std::string& model_name, Encoding encoding, int64_t num_tokens,
                     std::vector<std::vector<float>> vectors) {
  HttpResponse response;
  std::string& body = response.body;
  body = R"({"object":"list","data":[)";
  for (size_t i = 0; i < vectors.size(); ++i) {
    normalise(vectors[i]);
    fmt::format_to(std::back_inserter(body), R"({}{{"object":"embedding","index":{},"embedding":)",
                   i ? "," : "", i);
    encoding == Encoding::base64 ? append_base64(vectors[i], body) : append_floats(vectors[i], body);
    body += '}';
  }
  fmt::format_to(std::back_inserter(body),
                 R"(],"model":{},"usage":{{"prompt_tokens":{},"total_tokens":{}}}}})",
                 json::serialize(model_name), num_tokens, num_tokens);
  return response;
}

ApiResult<EmbeddingJob> prepare(AppContext& context, const std::shared_ptr<const ServedModel>& model,
                                const std::string& body) {
  const ModelLimits limits = limits_of(*model);
  ApiResult<EmbeddingRequest> request =
      parse_embedding_request(body, limits, model->engine->model_info().hidden_size);
  if (!request) return std::unexpected(std::move(request).error());
  GenerationRequest& generation = request->generation;
  ApiResult<AnswerInfo> info = make_answer_info(context, model, generation, "embd");
  if (!info) return std::unexpected(std::move(info).error());
  generation.engine.external_id = info->id;
  generation.engine.embed = context.options.pooling;
  const Bos bos_rule = generation.add_special_tokens.value_or(true) ? Bos::as_the_model : Bos::never;
  EmbeddingJob job;
  int64_t num_tokens = 0;
  for (const Prompt& input : request->inputs) {
    ApiResult<EncodedPrompt> encoded = encode_prompt(model->engine->tokenizer(), input, bos_rule, "input");
    if (!encoded) return std::unexpected(std::move(encoded).error());
    ApiResult<Request> engine_request =
        make_engine_request(generation, std::move(encoded->tokens), limits, "input");
    if (!engine_request) return std::unexpected(std::move(engine_request).error());
    num_tokens += static_cast<int64_t>(engine_request->prompt.size());
    job.requests.push_back(std::move(*engine_request));
  }
  job.present = [name = info->model, encoding = request->encoding,
                 num_tokens](std::vector<std::vector<float>> vectors) {
    return present(name, encoding, num_tokens, std::move(vectors));
  };
  return job;
}

}  // namespace

Answer post_embeddings(AppContext& context, HttpRequest request) {
  ApiResult<RequestTerms> terms = read_terms(request);
  if (!terms) return to_response(terms.error());
  std::shared_ptr<const ServedModel> model = context.model.get();
  EmbeddingOperation::Prepare bound = [&context, model, body = std::move(request.body)] {
    return prepare(context, model, body);
  };
  std::shared_ptr<Operation> operation =
      std::make_shared<EmbeddingOperation>(context, std::move(model), std::move(*terms), std::move(bound));
  return operation;
}

}  // namespace pagoda
