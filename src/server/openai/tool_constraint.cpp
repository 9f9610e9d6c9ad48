#include "server/openai/tool_constraint.h"

#include <algorithm>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr std::string_view kAnyArguments = R"({"type":"object"})";
constexpr std::string_view kNoArguments = R"({"type":"object","properties":{},"additionalProperties":false})";

std::vector<CallableFunction> callable_functions(const ToolUse& tools) {
  std::vector<CallableFunction> functions;
  for (size_t i = 0; i < tools.names.size(); ++i) {
    if (tools.choice == ToolUse::Choice::named && tools.names[i] != tools.named) continue;
    const json::object& function = tools.tools[i].at("function").get_object();
    const json::value* schema = function.if_contains("parameters");
    const bool free = tools.choice == ToolUse::Choice::automatic && !tools.strict[i];
    functions.push_back({tools.names[i], free     ? std::string(kAnyArguments)
                                         : schema ? json::serialize(*schema)
                                                  : std::string(kNoArguments)});
  }
  return functions;
}

MarkerSymbol symbols_of(const Tokenizer& tokenizer) {
  return [&tokenizer](std::string_view marker) {
    const TokenId id = tokenizer.find_token(marker);
    return id >= 0 && tokenizer.is_special(id) ? fmt::format("<[{}]>", id) : lark_literal(marker);
  };
}

// The rule `start`: `answer`, after a thinking section if there can be one.
std::string start_rule(const OutputPlan& plan, std::string_view answer, const MarkerSymbol& symbol) {
  if (!plan.reasoning) return fmt::format("start: {}\n", answer);
  const std::string close = symbol(plan.reasoning->close);
  const bool special = close.starts_with('<');
  const bool opened = plan.reasoning_start == ReasoningParser::Start::opened;
  std::string rules = opened ? fmt::format("start: thought {}\n", answer)
                             : fmt::format("start: ({} thought)? {}\n", symbol(plan.reasoning->open), answer);
  rules += fmt::format("thought: THOUGHT {} SPACE\nSPACE: /\\n{{0,2}}/\n", special ? close : "");
  if (special) return rules + "THOUGHT: /(?s:.*)/\n";
  // A lexer takes all it can, so the text ends with its first marker as one terminal.
  const std::string marker = lark_pattern(plan.reasoning->close);
  return rules + fmt::format("THOUGHT: /(?s:.*){0}/ & ~/(?s:.*){0}(?s:.+)/\n", marker);
}

StructuredOutput forced_calls(const ServedModel& model, const ToolUse& tools, OutputPlan& plan) {
  // Bare JSON is what the least can be said against where the model has no format, or one without grammar.
  if (!plan.tool_calls || !plan.tool_calls->grammar) plan.tool_calls = &kLlamaCalls;
  const bool one = tools.choice == ToolUse::Choice::named || !tools.parallel;
  const MarkerSymbol symbol = symbols_of(model.engine->tokenizer());
  std::string grammar =
      start_rule(plan, "calls", symbol) +
      plan.tool_calls->grammar(callable_functions(tools), one ? NumCalls::one : NumCalls::several, symbol);
  return {.source = {.kind = ConstraintSource::Kind::grammar, .text = std::move(grammar)}, .param = "tools"};
}

// Free text with calls that fit: what `strict` asks for where the model decides whether to call.
StructuredOutput fitting_calls(const ServedModel& model, const ToolUse& tools, const OutputPlan& plan) {
  const MarkerSymbol symbol = symbols_of(model.engine->tokenizer());
  std::string thinking;
  if (plan.reasoning && plan.reasoning_start == ReasoningParser::Start::unknown)
    thinking = fmt::format("\\s*{}", lark_pattern(plan.reasoning->open));
  std::string grammar =
      start_rule(plan, "answer", symbol) +
      plan.tool_calls->free_grammar(callable_functions(tools),
                                    tools.parallel ? NumCalls::several : NumCalls::one, symbol, thinking);
  return {.source = {.kind = ConstraintSource::Kind::grammar, .text = std::move(grammar)}, .param = "tools"};
}

bool must_fit(const ToolUse& tools, const OutputPlan& plan) {
  return tools.offered() && std::ranges::find(tools.strict, true) != tools.strict.end() && plan.tool_calls &&
         plan.tool_calls->free_grammar;
}

}  // namespace

ApiResult<std::shared_ptr<const CompiledConstraint>> constrain_output(
    const ServedModel& model, const ToolUse& tools, const std::optional<StructuredOutput>& format,
    OutputPlan& plan) {
  const bool forced = tools.choice == ToolUse::Choice::required || tools.choice == ToolUse::Choice::named;
  if (forced) return compile_structured_output(model.constraints, forced_calls(model, tools, plan));
  if (!format && must_fit(tools, plan))
    return compile_structured_output(model.constraints, fitting_calls(model, tools, plan));
  if (!format || !plan.reasoning) return compile_structured_output(model.constraints, format);
  // What is no JSON by itself must not become part of a grammar.
  json::error_code malformed;
  json::parse(format->source.text, malformed);
  if (format->source.kind != ConstraintSource::Kind::json_schema || malformed) {
    plan.reasoning = nullptr;  // the whole output is held to the format
    return compile_structured_output(model.constraints, format);
  }
  StructuredOutput after_thinking = *format;
  after_thinking.source.kind = ConstraintSource::Kind::grammar;
  after_thinking.source.text = start_rule(plan, "answer", symbols_of(model.engine->tokenizer())) +
                               fmt::format("answer: {}\n", lark_json(format->source.text));
  return compile_structured_output(model.constraints, after_thinking);
}

}  // namespace pagoda
