// Chat templates: Jinja, rendered by minijinja with Hugging Face's extensions (trim_blocks, lstrip_blocks,
// loop controls, tojson without escapes, raise_exception, strftime_now, Python's string methods). A template
// stands alone: it cannot include or extend others. Templates come from untrusted files: work, output, memory
// and nesting are bounded, so that each ends within about a second, with a text or an error.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pagoda {

class ChatTemplate {
 public:
  // A syntax error is `invalid_argument` with the line.
  static Result<ChatTemplate> compile(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // context_json: one JSON object with the template's variables (messages, tools, documents,
  // add_generation_prompt, bos_token, eos_token, any further ones). Absent `tools` and `documents` read as
  // none. A message's reasoning_content is copied to `thinking`, as transformers does. Errors raised by the
  // template are invalid_argument with its message. Thread-safe.
  Result<std::string> render(std::string_view context_json) const;
  const std::string& source() const { return source_; }

 private:
  struct Handle;
  ChatTemplate(std::unique_ptr<Handle> handle, std::string source);
  std::unique_ptr<Handle> handle_;
  std::string source_;
};

}  // namespace pagoda
