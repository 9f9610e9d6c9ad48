#include "server/openai/text_parts.h"

#include <utility>

#include <fmt/format.h>

namespace pagoda {
namespace json = boost::json;

void each_part(Fields& fields, const std::string& param, const json::array& parts, const PartStyle& style,
               const ReadPart& read) {
  for (size_t i = 0; i < parts.size() && !fields.error(); ++i) {
    const std::string path = param + fmt::format(fmt::runtime(style.number_format), i);
    const json::object* object = parts[i].if_object();
    if (!object) return fields.fail_with(wrong_type(path, "an object", parts[i]));
    Fields part(*object, path + ".");
    std::string type;
    part.string("type", type);
    if (type.empty()) part.fail_with(missing_parameter(part.path("type")));
    if (!part.error()) read(part, type);
    if (const auto& error = part.error()) fields.fail_with(*error);
  }
}

std::string read_text(Fields& fields, std::string_view name, const PartStyle& style,
                      const ReadPartText& read) {
  const json::value* value = fields.any(name);
  if (!value) return {};
  if (value->is_string()) return std::string(value->get_string());
  if (!value->is_array()) {
    fields.fail_with(wrong_type(fields.path(name), style.expected, *value));
    return {};
  }
  std::string text;
  bool first = true;
  each_part(fields, fields.path(name), value->get_array(), style, [&](Fields& part, const std::string& type) {
    if (!std::exchange(first, false)) text += '\n';
    text += read(part, type);
  });
  return text;
}

std::string required_text(Fields& fields, std::string_view name) {
  std::string text;
  fields.string(name, text);
  if (!fields.any(name)) fields.fail_with(missing_parameter(fields.path(name)));
  return text;
}

}  // namespace pagoda
