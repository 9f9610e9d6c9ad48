// POST /tokenize, /detokenize and /apply-template: bodies and answers of vLLM and, where they do not clash,
// of llama.cpp. POST /v1/predict: how long a request would wait, by the body of /tokenize or token ids.
#include <algorithm>

#include <boost/json.hpp>

#include "server/endpoint.h"
#include "server/openai/chat_prompt.h"
#include "server/openai/chat_request.h"
#include "server/openai/generation.h"
#include "server/openai/json_body.h"
#include "server/openai/prompts.h"
#include "server/openai/token_text.h"
#include "server/openai/tool_use.h"
#include "server/worker_operation.h"

namespace pagoda {
namespace json = boost::json;

namespace {

using JsonEndpoint = ApiResult<json::object> (*)(AppContext&, const ServedModel&, const std::string& body);

Answer answer_json(AppContext& context, HttpRequest request, JsonEndpoint endpoint) {
  const auto compute = [&context, model = context.model.get(), body = std::move(request.body), endpoint] {
    const ApiResult<json::object> answer = endpoint(context, *model, body);
    return answer ? HttpResponse{.body = json::serialize(*answer)} : to_response(answer.error());
  };
  return answer_on_worker(context.workers, compute);
}

struct TokenizeRequest {
  std::string model;
  std::optional<Prompt> prompt;  // none: a chat
  bool add_special_tokens = true;
  Specials specials = Specials::parse;
  bool return_token_strs = false;
  bool with_pieces = false;
  GenerationRequest generation;            // of a forecast: how long the answer may be
  std::vector<std::string> unread_fields;  // of a chat: what is a chat's among them
};

// What `prompt` may be.
enum class PromptKind { text, text_or_ids };

// One prompt; none if there is no such member.
std::optional<Prompt> read_prompt(Fields& fields, const std::string& name, const ModelLimits& limits,
                                  PromptKind kind) {
  if (!fields.any(name)) return {};
  std::vector<Prompt> prompts;
  if (kind == PromptKind::text_or_ids)
    read_prompts(fields, name, limits, 1, prompts);
  else
    fields.string(name, std::get<std::string>(prompts.emplace_back()));
  return prompts.empty() ? Prompt() : std::move(prompts.front());  // empty: an error, which `fields` keeps
}

ApiResult<TokenizeRequest> parse_tokenize(AppContext& context, const ModelLimits& limits, PromptKind kind,
                                          const std::string& body) {
  const ApiResult<json::object> object = parse_json_object(body);
  if (!object) return std::unexpected(object.error());
  Fields fields(*object);
  TokenizeRequest request;
  fields.string("model", request.model);
  // llama.cpp's names, and its default: nothing is added.
  const bool is_content = fields.any("content") != nullptr;
  const char* text_name = is_content ? "content" : "prompt";
  request.prompt = read_prompt(fields, text_name, limits, is_content ? PromptKind::text : kind);
  if (fields.any("messages")) {
    if (request.prompt)
      fields.fail_with(bad_parameter("messages", "invalid_value",
                                     fmt::format("'messages' and '{}' exclude each other.", text_name)));
    request.prompt.reset();
    request.add_special_tokens = false;
  } else if (!request.prompt) {
    fields.fail_with(missing_parameter("prompt"));
  }
  if (is_content) request.add_special_tokens = false;
  fields.boolean("add_special", request.add_special_tokens);
  fields.boolean("add_special_tokens", request.add_special_tokens);
  bool parse_special = true;
  fields.boolean("parse_special", parse_special);
  request.specials = parse_special ? Specials::parse : Specials::as_text;
  fields.boolean("return_token_strs", request.return_token_strs);
  fields.boolean("with_pieces", request.with_pieces);
  if (kind == PromptKind::text_or_ids) read_max_tokens(fields, request.generation);
  if (request.prompt) {
    ChatRequest unused;  // what is a chat's has to be well formed all the same
    read_chat_tools(fields, unused.tools);
    read_template_options(fields, unused);
  }
  if (const auto& error = fields.error()) return std::unexpected(*error);
  request.unread_fields = fields.unread();
  if (request.prompt) context.unread_fields.count(request.unread_fields, "tokenize");
  return request;
}

// llama.cpp's: text, or the bytes of what is no text.
json::object piece_of(const Tokenizer& tokenizer, TokenId id) {
  const std::string bytes = token_bytes(tokenizer, id);
  if (is_utf8(bytes)) return {{"id", id}, {"piece", bytes}};
  json::array values;
  for (const char c : bytes) values.emplace_back(static_cast<unsigned char>(c));
  return {{"id", id}, {"piece", std::move(values)}};
}

ApiResult<std::vector<int32_t>> tokens_of(AppContext& context, const ServedModel& model,
                                          const TokenizeRequest& request, const std::string& body) {
  if (!request.prompt) {
    ApiResult<ChatRequest> chat = parse_chat_request(body, limits_of(model), ChatPurpose::render);
    if (!chat) return std::unexpected(std::move(chat).error());
    std::vector<std::string>& unread = chat->generation.unread_fields;
    std::erase_if(unread, [&](const std::string& name) {
      return std::ranges::find(request.unread_fields, name) == request.unread_fields.end();
    });
    context.unread_fields.count(unread, "tokenize");
    return build_chat_prompt(model, std::move(*chat));
  }
  if (const auto* tokens = std::get_if<std::vector<int32_t>>(&*request.prompt)) return *tokens;
  Result<std::vector<TokenId>> ids =
      model.engine->tokenizer().encode(std::get<std::string>(*request.prompt), request.specials);
  if (!ids) return std::unexpected(to_api_error(ids.error(), "prompt"));
  return std::move(*ids);
}

// With what is put in front.
ApiResult<std::vector<int32_t>> all_tokens_of(AppContext& context, const ServedModel& model,
                                              const TokenizeRequest& request, const std::string& body) {
  const Tokenizer& tokenizer = model.engine->tokenizer();
  if (auto error = check_model_name(model, request.model)) return std::unexpected(std::move(*error));
  ApiResult<std::vector<int32_t>> ids = tokens_of(context, model, request, body);
  // A chat's template, and token ids, may have it already.
  const bool is_text = request.prompt && std::holds_alternative<std::string>(*request.prompt);
  if (ids && request.add_special_tokens && (!request.prompt || (is_text && tokenizer.adds_bos())))
    prepend_bos(tokenizer, *ids);
  return ids;
}

ApiResult<json::object> predict(AppContext& context, const ServedModel& model, const std::string& body) {
  const ApiResult<TokenizeRequest> request =
      parse_tokenize(context, limits_of(model), PromptKind::text_or_ids, body);
  if (!request) return std::unexpected(request.error());
  ApiResult<std::vector<int32_t>> ids = all_tokens_of(context, model, *request, body);
  if (!ids) return std::unexpected(std::move(ids).error());
  const ApiResult<Request> wish = make_engine_request(request->generation, std::move(*ids), limits_of(model),
                                                      request->prompt ? "prompt" : "messages");
  if (!wish) return std::unexpected(wish.error());
  const Forecast forecast = model.engine->forecast(std::ssize(wish->prompt), wish->max_tokens);
  const EngineStats stats = model.engine->stats();
  return json::object{{"num_prompt_tokens", wish->prompt.size()},
                      {"queue_seconds", forecast.queue_seconds},
                      {"prefill_seconds", forecast.prefill_seconds},
                      {"ttft_seconds", forecast.queue_seconds + forecast.prefill_seconds},
                      {"num_running", stats.num_running},
                      {"num_waiting", stats.num_waiting}};
}

ApiResult<json::object> tokenize(AppContext& context, const ServedModel& model, const std::string& body) {
  const Tokenizer& tokenizer = model.engine->tokenizer();
  ApiResult<TokenizeRequest> request = parse_tokenize(context, limits_of(model), PromptKind::text, body);
  if (!request) return std::unexpected(std::move(request).error());
  ApiResult<std::vector<int32_t>> ids = all_tokens_of(context, model, *request, body);
  if (!ids) return std::unexpected(std::move(ids).error());
  json::array tokens;
  json::array strings;
  for (const TokenId id : *ids) {
    if (request->with_pieces)
      tokens.emplace_back(piece_of(tokenizer, id));
    else
      tokens.emplace_back(id);
    if (request->return_token_strs) strings.emplace_back(to_utf8(token_bytes(tokenizer, id)));
  }
  return json::object{
      {"count", ids->size()},
      {"max_model_len", limits_of(model).max_context},
      {"tokens", std::move(tokens)},
      {"token_strs", request->return_token_strs ? json::value(std::move(strings)) : json::value(nullptr)}};
}

ApiResult<json::object> detokenize(AppContext& context, const ServedModel& model, const std::string& body) {
  const ApiResult<json::object> object = parse_json_object(body);
  if (!object) return std::unexpected(object.error());
  Fields fields(*object);
  std::string name;
  std::vector<int32_t> ids;
  fields.string("model", name);
  if (!fields.any("tokens")) fields.fail_with(missing_parameter("tokens"));
  fields.integers("tokens", {.min = 0, .max = limits_of(model).vocab_size - 1}, SIZE_MAX, ids);
  if (const auto& error = fields.error()) return std::unexpected(*error);
  if (auto error = check_model_name(model, name)) return std::unexpected(std::move(*error));
  context.unread_fields.count(fields.unread(), "detokenize");
  std::string text;
  Detokenizer detokenizer(model.engine->tokenizer(), Detokenizer::SpecialText::show);
  for (const int32_t id : ids) detokenizer.push(id, text);
  detokenizer.finish(text);
  return json::object{{"prompt", text}, {"content", text}};
}

ApiResult<json::object> apply_template(AppContext& context, const ServedModel& model,
                                       const std::string& body) {
  ApiResult<ChatRequest> request = parse_chat_request(body, limits_of(model), ChatPurpose::render);
  if (!request) return std::unexpected(std::move(request).error());
  if (auto error = check_model_name(model, request->generation.model))
    return std::unexpected(std::move(*error));
  context.unread_fields.count(request->generation.unread_fields, "apply-template");
  ApiResult<std::string> text = render_chat_prompt(model, std::move(*request));
  if (!text) return std::unexpected(std::move(text).error());
  return json::object{{"prompt", model.shield.restore(*text)}};
}

}  // namespace

Answer post_tokenize(AppContext& context, HttpRequest request) {
  return answer_json(context, std::move(request), tokenize);
}

Answer post_predict(AppContext& context, HttpRequest request) {
  return answer_json(context, std::move(request), predict);
}

Answer post_detokenize(AppContext& context, HttpRequest request) {
  return answer_json(context, std::move(request), detokenize);
}

Answer post_apply_template(AppContext& context, HttpRequest request) {
  return answer_json(context, std::move(request), apply_template);
}

}  // namespace pagoda
