#include "server/openai/chat_generation.h"

#include "server/openai/chat_output.h"
#include "server/openai/chat_prompt.h"
#include "server/openai/generation.h"
#include "server/openai/tool_constraint.h"

namespace pagoda {
namespace {

std::string final_text_of_assistant(const boost::json::array& messages) {
  const boost::json::object& last = messages.back().as_object();
  if (last.at("role") != "assistant") return {};
  const boost::json::value* content = last.if_contains("content");
  return content && content->is_string() ? std::string(content->get_string()) : std::string();
}

}  // namespace

ApiResult<Generation> prepare_chat_generation(AppContext& context, std::shared_ptr<const ServedModel> model,
                                              ChatRequest request, std::string_view id_prefix,
                                              std::string_view prompt_param, const MakePresenter& make) {
  const ModelLimits limits = limits_of(*model);
  ApiResult<AnswerInfo> info = make_answer_info(context, model, request.generation, id_prefix);
  if (!info) return std::unexpected(std::move(info).error());
  GenerationRequest generation = std::move(request.generation);
  if (auto error = encode_bad_words(model->engine->tokenizer(), generation))
    return std::unexpected(std::move(*error));
  OutputPlan plan = plan_output(*model, request, generation.engine);
  const ToolUse tools = request.tools;
  if (request.echo) info->echo = final_text_of_assistant(request.messages);
  ApiResult<std::vector<int32_t>> prompt = build_chat_prompt(*model, std::move(request));
  if (!prompt) return std::unexpected(std::move(prompt).error());
  if (generation.add_special_tokens.value_or(false)) prepend_bos(model->engine->tokenizer(), *prompt);
  note_prompt(model->engine->tokenizer(), *prompt, plan);
  auto constraint = constrain_output(*model, tools, generation.structured_output, plan);
  if (!constraint) return std::unexpected(std::move(constraint).error());
  generation.engine.constraint = std::move(*constraint);
  info->output = std::make_shared<const OutputPlan>(std::move(plan));
  generation.engine.external_id = info->id;
  ApiResult<Request> engine_request =
      make_engine_request(generation, std::move(*prompt), limits, prompt_param);
  if (!engine_request) return std::unexpected(std::move(engine_request).error());
  add_prompt(*info, *engine_request);

  Generation result;
  if (generation.return_token_ids) result.token_ids = TokenIds::keep;
  result.requests.push_back(std::move(*engine_request));
  result.presenter = make(std::move(*info));
  return result;
}

}  // namespace pagoda
