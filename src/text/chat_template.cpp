#include "text/chat_template.h"

#include "text/rust_result.h"

namespace pagoda {

struct ChatTemplate::Handle {
  explicit Handle(PgTemplate* from) : compiled(from) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { pg_template_free(compiled); }

  PgTemplate* compiled;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Handle> handle, std::string source)
    : handle_(std::move(handle)), source_(std::move(source)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::compile(std::string_view source) {
  PgTemplate* compiled = nullptr;
  PgBuf error;
  PAGODA_TRY_STATUS(to_status(pg_template_compile(borrow(source), &compiled, &error), error));
  return ChatTemplate(std::make_unique<Handle>(compiled), std::string(source));
}

Result<std::string> ChatTemplate::render(std::string_view context_json) const {
  PgBuf text;
  PgBuf error;
  PAGODA_TRY_STATUS(
      to_status(pg_template_render(handle_->compiled, borrow(context_json), &text, &error), error));
  return take(text);
}

}  // namespace pagoda
