#include "server/openai/chat_prompt.h"

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

json::object template_context(const Tokenizer& tokenizer, ChatRequest& request) {
  json::object context = std::move(request.template_kwargs);
  context["messages"] = std::move(request.messages);
  if (request.tools.offered()) context["tools"] = std::move(request.tools.tools);
  context["add_generation_prompt"] = request.add_generation_prompt;
  context["bos_token"] = tokenizer.token_text(tokenizer.bos_id());
  context["eos_token"] = tokenizer.token_text(tokenizer.eos_id());
  return context;
}

void restyle(json::object& object, const char* name, CallIdStyle style) {
  json::value* id = object.if_contains(name);
  if (id && id->is_string()) *id = styled_call_id(std::string(id->get_string()), style);
}

// Ids of calls that other servers have made, as the template takes them. A result follows its call.
void restyle_call_ids(json::array& messages, CallIdStyle style) {
  for (json::value& value : messages) {
    json::object& message = value.as_object();
    restyle(message, "tool_call_id", style);
    json::value* calls = message.if_contains("tool_calls");
    if (!calls || !calls->is_array()) continue;
    for (json::value& call : calls->get_array())
      if (call.is_object()) restyle(call.get_object(), "id", style);
  }
}

constexpr std::string_view kSpace = " \t\r\n";

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool wants_no_thinking(const json::object& template_kwargs) {
  const json::value* wanted = template_kwargs.if_contains("enable_thinking");
  return wanted && wanted->is_bool() && !wanted->get_bool();
}

// A template that opens a thinking section whatever it is told: closed here, the model answers at once.
void close_thinking(const ReasoningFormat& format, std::string& rendered) {
  const size_t end = rendered.find_last_not_of(kSpace) + 1;
  if (std::string_view(rendered).substr(0, end).ends_with(format.open)) rendered += format.close;
}

// Cuts what the template put after the last message, so that the model goes on with it.
ApiResult<std::string> cut_after(std::string rendered, std::string_view content) {
  const std::string_view text = trim(content);
  const size_t found = rendered.rfind(text);
  if (text.empty() || found == std::string::npos)
    return std::unexpected(
        bad_parameter("continue_final_message", "invalid_value",
                      "'continue_final_message' needs a last message whose text the model's chat "
                      "template keeps unchanged."));
  const size_t end = found + text.size();
  const std::string_view tail = content.substr(content.find(text) + text.size());
  const bool keeps_tail = std::string_view(rendered).substr(end).starts_with(tail);
  rendered.resize(keeps_tail ? end + tail.size() : end);
  return rendered;
}

std::string last_content(const json::array& messages) {
  const json::value* content = messages.back().as_object().if_contains("content");
  return content && content->is_string() ? std::string(content->get_string()) : std::string();
}

}  // namespace

ApiResult<std::string> render_chat_prompt(const ServedModel& model, ChatRequest request) {
  if (!model.chat_template)
    return std::unexpected(
        ApiError{.status = 400,
                 .message = "This model has no chat template; use /v1/completions instead.",
                 .param = "messages",
                 .code = "unsupported_value"});
  const Tokenizer& tokenizer = model.engine->tokenizer();
  if (model.output_format.call_ids != CallIdStyle::any)
    restyle_call_ids(request.messages, model.output_format.call_ids);
  for (json::value& message : request.messages) model.shield.protect(message);
  for (json::value& tool : request.tools.tools) model.shield.protect(tool);
  for (auto& argument : request.template_kwargs) model.shield.protect(argument.value());
  const bool continues = request.continue_final_message;
  const bool no_thinking = wants_no_thinking(request.template_kwargs);
  const std::string final_content = continues ? last_content(request.messages) : std::string();

  Result<std::string> rendered =
      model.chat_template->render(json::serialize(template_context(tokenizer, request)));
  if (!rendered)
    return std::unexpected(bad_parameter("messages", "invalid_value",
                                         fmt::format("The model's chat template refuses these messages: {}",
                                                     model.shield.restore(rendered.error().message))));
  if (continues) {
    ApiResult<std::string> cut = cut_after(std::move(*rendered), final_content);
    if (!cut) return std::unexpected(std::move(cut).error());
    rendered = std::move(*cut);
  } else if (no_thinking && model.output_format.reasoning) {
    close_thinking(*model.output_format.reasoning, *rendered);
  }
  return std::move(*rendered);
}

ApiResult<std::vector<int32_t>> build_chat_prompt(const ServedModel& model, ChatRequest request) {
  const Tokenizer& tokenizer = model.engine->tokenizer();
  const ApiResult<std::string> rendered = render_chat_prompt(model, std::move(request));
  if (!rendered) return std::unexpected(rendered.error());
  Result<std::vector<TokenId>> ids = model.shield.encode(tokenizer, *rendered);
  if (!ids) return std::unexpected(to_api_error(ids.error(), "messages"));
  return std::move(*ids);
}

}  // namespace pagoda
