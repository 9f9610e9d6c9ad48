// Walks a JSON text in order without building a tree: memory is bounded by its longest string, and repeated
// keys are seen as often as they stand there.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace pagoda {

// Keys that lead from the document to a value; an array's elements have the key "". Empty for the document
// itself.
using JsonPath = std::span<const std::string>;
// A string, an integer, or anything else that is no object and no array (null, true, false, 1.5, 2^63).
using JsonScalar = std::variant<std::monostate, int64_t, std::string_view>;
enum class JsonContainer { object, array };

// What a visitor answers with an error ends the walk with that error.
class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  virtual Status on_begin(JsonContainer kind, JsonPath path) = 0;
  virtual Status on_end(JsonPath path) = 0;
  virtual Status on_scalar(const JsonScalar& value, JsonPath path) = 0;
};

// corrupt if the text is not one JSON value in UTF-8, at most 32 levels deep. The message starts with `what`,
// which names the text ("x.safetensors: the header").
Status walk_json(std::string_view text, std::string_view what, JsonVisitor& visitor);

}  // namespace pagoda
