#include "server/openai/structured_output.h"

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

using Kind = ConstraintSource::Kind;

// Gathers the constraints of a request; a second one is an error.
class Collector {
 public:
  explicit Collector(Fields& fields) : fields_(fields) {}

  void add(Kind kind, std::string text, std::string param) {
    if (output_)
      return fail_with(
          bad_parameter(param, "invalid_value",
                        fmt::format("'{}' and '{}' exclude each other: the output can have one constraint.",
                                    output_->param, param)));
    output_ = StructuredOutput{.source = {.kind = kind, .text = std::move(text)}, .param = std::move(param)};
  }
  void add_any_object(std::string param) { add(Kind::json_schema, R"({"type":"object"})", std::move(param)); }
  void add_schema(const json::value& schema, std::string param) {
    if (!schema.is_object() && !schema.is_bool())
      return fail_with(wrong_type(param, "a JSON schema (an object)", schema));
    add(Kind::json_schema, json::serialize(schema), std::move(param));
  }
  // A schema or the text of one.
  void add_schema_or_text(const json::value& schema, std::string param) {
    if (!schema.is_string()) return add_schema(schema, std::move(param));
    add(Kind::json_schema, std::string(schema.get_string()), std::move(param));
  }
  void add_choice(const json::value& choices, std::string param) {
    if (!choices.is_array()) return fail_with(wrong_type(param, "an array of strings", choices));
    for (const json::value& choice : choices.get_array())
      if (!choice.is_string()) return fail_with(wrong_type(param, "an array of strings", choices));
    add(Kind::choice, json::serialize(choices), std::move(param));
  }
  void add_text(Kind kind, const json::value& text, std::string param) {
    if (!text.is_string()) return fail_with(wrong_type(param, "a string", text));
    add(kind, std::string(text.get_string()), std::move(param));
  }
  void fail_with(ApiError error) { fields_.fail_with(std::move(error)); }
  // Takes over the error of fields within a member.
  void check(const Fields& inner) {
    if (const auto& error = inner.error()) fail_with(*error);
  }
  Fields& fields() { return fields_; }
  std::optional<StructuredOutput>& output() { return output_; }

 private:
  Fields& fields_;
  std::optional<StructuredOutput> output_;
};

void read_json_schema_format(Fields& format, Collector& collector) {
  const json::object* named = format.object("json_schema");
  if (!named) return format.fail_with(missing_parameter("response_format.json_schema"));
  Fields inner(*named, "response_format.json_schema.");
  std::string text;
  bool strict = true;
  inner.string("name", text);
  inner.string("description", text);
  inner.boolean("strict", strict);  // the output always fits
  const json::value* schema = inner.any("schema");
  if (!schema) inner.fail_with(missing_parameter(inner.path("schema")));
  collector.check(inner);
  if (schema) collector.add_schema(*schema, inner.path("schema"));
}

void read_response_format(Collector& collector) {
  const json::object* object = collector.fields().object("response_format");
  if (!object) return;
  Fields format(*object, "response_format.");
  std::string type;
  format.string("type", type);
  if (!format.error() && !format.any("type")) format.fail_with(missing_parameter("response_format.type"));
  if (format.error()) return collector.check(format);
  if (type == "json_schema") {
    read_json_schema_format(format, collector);
  } else if (type == "json_object") {
    const json::value* schema = format.any("schema");  // llama.cpp's
    if (schema)
      collector.add_schema(*schema, "response_format.schema");
    else
      collector.add_any_object("response_format");
  } else if (type != "text") {
    format.fail_with(bad_parameter(
        "response_format.type", "invalid_value",
        fmt::format("Invalid 'response_format.type': '{}'. Expected 'text', 'json_object' or 'json_schema'.",
                    type)));
  }
  collector.check(format);
}

void read_whitespace(Fields& options, std::string_view pattern_name, Collector& collector) {
  bool none = false;
  std::string pattern;
  options.boolean("disable_any_whitespace", none);
  options.string(pattern_name, pattern);
  auto& output = collector.output();
  if (!output) return;
  ConstraintSource& source = output->source;
  if (none) source.whitespace = ConstraintSource::Whitespace::none;
  source.whitespace_pattern = std::move(pattern);
}

void read_structured_outputs(Collector& collector) {
  const json::object* object = collector.fields().object("structured_outputs");
  if (!object) return;
  Fields options(*object, "structured_outputs.");
  const bool had_one = collector.output().has_value();
  if (const auto* schema = options.any("json")) collector.add_schema_or_text(*schema, options.path("json"));
  if (const auto* regex = options.any("regex"))
    collector.add_text(Kind::regex, *regex, options.path("regex"));
  if (const auto* choices = options.any("choice")) collector.add_choice(*choices, options.path("choice"));
  if (const auto* grammar = options.any("grammar"))
    collector.add_text(Kind::grammar, *grammar, options.path("grammar"));
  bool any_object = false;
  options.boolean("json_object", any_object);
  if (any_object) collector.add_any_object(options.path("json_object"));
  if (options.any("structural_tag"))
    options.fail_with(unsupported_parameter(options.path("structural_tag"),
                                            "'structural_tag' is not supported by this server; a grammar can "
                                            "say the same with literals and %json."));
  if (!had_one) read_whitespace(options, "whitespace_pattern", collector);
  collector.check(options);
  if (!collector.output())
    collector.fail_with(bad_parameter("structured_outputs", "invalid_value",
                                      "Invalid 'structured_outputs': expected one of 'json', 'regex', "
                                      "'choice', 'grammar' or 'json_object'."));
}

// Older and llama.cpp's names of the same.
void read_other_names(Collector& collector) {
  Fields& fields = collector.fields();
  if (const auto* schema = fields.any("json_schema")) collector.add_schema(*schema, "json_schema");
  if (const auto* grammar = fields.any("grammar")) collector.add_text(Kind::grammar, *grammar, "grammar");
  if (const auto* schema = fields.any("guided_json")) collector.add_schema_or_text(*schema, "guided_json");
  if (const auto* regex = fields.any("guided_regex")) collector.add_text(Kind::regex, *regex, "guided_regex");
  if (const auto* choices = fields.any("guided_choice")) collector.add_choice(*choices, "guided_choice");
  if (const auto* grammar = fields.any("guided_grammar"))
    collector.add_text(Kind::grammar, *grammar, "guided_grammar");
  if (fields.any("guided_whitespace_pattern"))
    read_whitespace(fields, "guided_whitespace_pattern", collector);
}

}  // namespace

std::optional<StructuredOutput> read_structured_output(Fields& fields) {
  Collector collector(fields);
  read_response_format(collector);
  read_structured_outputs(collector);
  read_other_names(collector);
  return std::move(collector.output());
}

ApiResult<std::shared_ptr<const CompiledConstraint>> compile_structured_output(
    const ConstraintCompiler& compiler, const std::optional<StructuredOutput>& output) {
  if (!output) return nullptr;
  auto compiled = compiler.compile(output->source);
  if (compiled) return std::move(*compiled);
  ApiError error = to_api_error(compiled.error(), output->param);
  if (error.status == 400) error.message = fmt::format("Invalid '{}': {}.", output->param, error.message);
  return std::unexpected(std::move(error));
}

}  // namespace pagoda
