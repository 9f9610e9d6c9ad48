// What the generating endpoints share on their way from a parsed request to a Generation.
#pragma once

#include <memory>
#include <string_view>

#include "server/app_context.h"
#include "server/openai/answer_info.h"
#include "server/openai/generation_operation.h"
#include "server/openai/generation_request.h"

namespace pagoda {

// Puts BOS in front, if the model has one and it is not there yet.
void prepend_bos(const Tokenizer& tokenizer, std::vector<int32_t>& prompt);
ModelLimits limits_of(const ServedModel& model);
// 404 if a model is named that is not served; none may be named.
std::optional<ApiError> check_model_name(const ServedModel& model, const std::string& name);
// 404 likewise.
ApiResult<AnswerInfo> make_answer_info(AppContext& context, std::shared_ptr<const ServedModel> model,
                                       const GenerationRequest& request, std::string_view id_prefix);
// What the answer repeats of one more prompt.
void add_prompt(AnswerInfo& info, const Request& request);
// An operation that runs `prepare` with the body on a worker. `reshape` may be a nullptr.
Answer start_generation(AppContext& context, HttpRequest request,
                        ApiResult<Generation> (*prepare)(AppContext&, std::shared_ptr<const ServedModel>,
                                                         const std::string& body),
                        ReshapeError reshape = nullptr);

}  // namespace pagoda
