// One tool call written as a JSON object, {"name": …, "arguments": {…}}, read byte by byte.
#pragma once

#include <string>
#include <string_view>

#include "server/output/json_scanner.h"
#include "server/output/tool_call_parser.h"

namespace pagoda {

class JsonCall {
 public:
  // A whole object; "parameters" does as well as "arguments", further members are passed over.
  explicit JsonCall(ToolCallParserOptions options) : options_(options) {}
  // What comes is the object of arguments alone.
  JsonCall(ToolCallParserOptions options, std::string name);

  // After done or bad it must not be called again.
  JsonScanner::Status push(char c);
  // Moves to `out` what the options allow to tell of what is known.
  void flush(OutputDeltas& out);
  // Whether flush has told of the call.
  bool told() const { return told_; }
  // Empty until it is known.
  const std::string& name() const { return name_; }
  // Whether it has no members but those of calls.
  bool looks_like_call() const { return looks_like_call_; }

 private:
  using Status = JsonScanner::Status;
  enum class Role { name, arguments, other };
  enum class Shape { none, container, string, bare };

  Status push_member(char c, bool was_in_string);
  Status push_value(char c, bool was_in_string);
  Status begin_value(char c);
  Status end_value();
  Status read_arguments_text();

  ToolCallParserOptions options_;
  JsonScanner scanner_;
  bool only_arguments_ = false;
  std::string key_;            // of the member at hand
  Role role_ = Role::other;    // of the value at hand
  Shape shape_ = Shape::none;  // none: no value is at hand
  std::string value_;          // the value at hand, where it has to be complete before it is used
  std::string name_;
  std::string arguments_;  // not told yet
  bool has_arguments_ = false;
  bool looks_like_call_ = true;
  bool done_ = false;
  bool told_ = false;
};

}  // namespace pagoda
