// The keyword arguments of a Python call -> JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pagoda {

// `a=1, b="x", c=[True, None]` -> `{"a": 1, "b": "x", "c": [true, null]}`. Values: strings in single or
// double quotes with Python's escapes, numbers, True, False, None (or as JSON has them), lists, tuples, dicts
// with string keys. nullopt if the text is anything else, or is nested beyond 64 levels.
std::optional<std::string> python_arguments_to_json(std::string_view text);

}  // namespace pagoda
