// Constraints of chat answers: calls that a request demands, and a format for the answer after thinking.
#pragma once

#include <memory>

#include "server/openai/chat_request.h"
#include "server/output/output_parser.h"
#include "server/served_model.h"

namespace pagoda {

// What the engine must hold the output to; nullptr if it is free. Thinking that comes first stays free. With
// `required` and named tools the output is calls by the functions' schemas, in the plan's format; where that
// cannot be enforced the plan gets another. Where the model decides whether to call, calls of `strict`
// functions fit their schemas, if the plan's format has a grammar. 400 if a schema cannot be enforced.
ApiResult<std::shared_ptr<const CompiledConstraint>> constrain_output(
    const ServedModel& model, const ToolUse& tools, const std::optional<StructuredOutput>& format,
    OutputPlan& plan);

}  // namespace pagoda
