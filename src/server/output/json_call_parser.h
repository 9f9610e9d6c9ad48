// Tool calls as JSON between markers: what Hermes, Llama and Mistral formats have in common.
#pragma once

#include <optional>
#include <string>

#include "server/output/json_call.h"
#include "server/output/marker_matcher.h"
#include "server/output/tool_call_parser.h"

namespace pagoda {

struct JsonCallSyntax {
  std::string_view open;   // comes before a call, or a list of them
  std::string_view close;  // may come after it; empty: none
  // Whether a call to an offered function may stand at the start of the text without `open`, bare or in a
  // Markdown fence.
  enum class Bare { no, yes } bare = Bare::no;
  // Whether `open` may be followed by a list of calls, or by a name and `name_end` and the arguments alone.
  enum class ListOrName { no, yes } list_or_name = ListOrName::no;
  std::string_view name_end;
};

class JsonCallParser final : public ToolCallParser {
 public:
  JsonCallParser(JsonCallSyntax syntax, ToolCallParserOptions options);

  void push(std::string_view text, OutputDeltas& out) override;
  void finish(OutputDeltas& out) override;

 private:
  // text:    content; a marker or, at the start, a bare call may begin
  // body:    after a marker or a separator: a call must follow
  // name:    the name of a call whose arguments stand alone
  // call:    within a call's JSON
  // between: after a call: its closing marker, another call, or text
  enum class State { text, body, name, call, between };

  void push_byte(char c, OutputDeltas& out);
  void push_text(char c, OutputDeltas& out);
  void push_body(char c, OutputDeltas& out);
  void push_name(char c, OutputDeltas& out);
  void push_call(JsonCall& call, char c, OutputDeltas& out);
  void push_between(char c, OutputDeltas& out);
  JsonCall& begin_call(JsonCall call, OutputDeltas& out);
  void end_call();
  // What was held back is content after all, and so is what follows.
  void give_up(OutputDeltas& out);
  bool is_offered(std::string_view name) const;

  const JsonCallSyntax syntax_;
  const ToolCallParserOptions options_;
  State state_ = State::text;
  MarkerMatcher open_;
  MarkerMatcher close_;
  MarkerMatcher name_end_;
  std::optional<JsonCall> call_;
  std::string held_;  // content if it does not become part of a call
  std::string name_;
  bool name_ended_ = false;
  bool at_start_ = true;     // nothing but space so far
  bool bare_ = false;        // the call at hand has no marker
  bool after_call_ = false;  // no text since the last call
  bool in_list_ = false;
  size_t fence_len_ = 0;    // bytes of an opening fence at the start
  size_t fence_ticks_ = 0;  // of the closing one, still to come
};

}  // namespace pagoda
