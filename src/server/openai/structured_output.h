// What a request wants its output to fit: OpenAI's `response_format`, vLLM's `structured_outputs` and the
// older `guided_…` fields. At most one of them.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "server/openai/fields.h"
#include "text/constraint.h"

namespace pagoda {

struct StructuredOutput {
  ConstraintSource source;
  std::string param;  // that errors name
};

// Nothing if the output is free. Errors stay in `fields`.
std::optional<StructuredOutput> read_structured_output(Fields& fields);

// 400 naming the parameter if the constraint cannot be had. Takes up to 100 ms, and waits for `compiler`.
ApiResult<std::shared_ptr<const CompiledConstraint>> compile_structured_output(
    const ConstraintCompiler& compiler, const std::optional<StructuredOutput>& output);

}  // namespace pagoda
