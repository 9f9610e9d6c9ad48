#include "server/openai/generation.h"

#include <algorithm>
#include <ctime>

namespace pagoda {
namespace {

constexpr int64_t kMaxChoices = 128;  // as OpenAI has it

}  // namespace

ModelLimits limits_of(const ServedModel& model) {
  const EngineConfig& config = model.engine->config();
  return {.vocab_size = model.engine->model_info().vocab_size,
          .max_context = std::min(config.max_context, config.kv_capacity_tokens()),
          .max_choices = std::min<int64_t>(kMaxChoices, config.max_sequences),
          .default_sampling = model.default_sampling};
}

std::optional<ApiError> check_model_name(const ServedModel& model, const std::string& name) {
  if (name.empty() || std::ranges::find(model.names, name) != model.names.end()) return std::nullopt;
  return model_not_found(name);
}

void prepend_bos(const Tokenizer& tokenizer, std::vector<int32_t>& prompt) {
  const TokenId bos = tokenizer.bos_id();
  if (bos >= 0 && (prompt.empty() || prompt.front() != bos)) prompt.insert(prompt.begin(), bos);
}

ApiResult<AnswerInfo> make_answer_info(AppContext& context, std::shared_ptr<const ServedModel> model,
                                       const GenerationRequest& request, std::string_view id_prefix) {
  if (auto error = check_model_name(*model, request.model)) return std::unexpected(std::move(*error));
  const std::string name = request.model.empty() ? model->names.front() : request.model;
  std::string id = fmt::format("{}{}", id_prefix, context.ids.next());
  context.unread_fields.count(request.unread_fields, id);
  return AnswerInfo{.id = std::move(id),
                    .created = static_cast<int64_t>(std::time(nullptr)),
                    .model = name,
                    .served = std::move(model),
                    .num_choices = request.engine.num_sequences,
                    .num_returned = request.engine.num_sequences,
                    .include_usage = request.include_usage,
                    .continuous_usage = request.include_usage && request.continuous_usage,
                    .wants_timings = request.engine.report_timings,
                    .wants_logprobs = request.engine.sampling.num_logprobs >= 0,
                    .num_prompt_logprobs = request.num_prompt_logprobs,
                    .token_names = request.tokens_as_ids ? TokenNames::ids : TokenNames::text,
                    .wants_token_ids = request.return_token_ids};
}

void add_prompt(AnswerInfo& info, const Request& request) {
  info.num_prompt_tokens += static_cast<int64_t>(request.prompt.size());
  const bool wanted = info.wants_token_ids || info.num_prompt_logprobs;
  info.prompts.push_back(wanted ? request.prompt : std::vector<int32_t>());
}

Answer start_generation(AppContext& context, HttpRequest request,
                        ApiResult<Generation> (*prepare)(AppContext&, std::shared_ptr<const ServedModel>,
                                                         const std::string& body),
                        ReshapeError reshape) {
  ApiResult<RequestTerms> terms = read_terms(request);
  if (!terms) return reshape ? reshape(to_response(terms.error())) : to_response(terms.error());
  terms->reshape_error = reshape;
  std::shared_ptr<const ServedModel> model = context.model.get();
  const auto body = std::make_shared<const std::string>(std::move(request.body));
  GenerationOperation::Prepare bound = [&context, model, body, prepare] {
    return prepare(context, model, *body);
  };
  std::shared_ptr<Operation> operation =
      std::make_shared<GenerationOperation>(context, std::move(model), std::move(*terms), std::move(bound));
  return operation;
}

}  // namespace pagoda
