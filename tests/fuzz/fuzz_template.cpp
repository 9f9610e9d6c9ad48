// Chat templates from untrusted files with contexts from untrusted requests: text or an Error, within bounds.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "text/chat_template.h"

// The input is a template, a zero byte and a context; without one the context is fixed.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace pagoda;
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  const size_t end = input.find('\0');
  const std::string_view context =
      end == std::string_view::npos
          ? R"({"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": true, "n": 1.5})"
          : input.substr(end + 1);
  const auto compiled = ChatTemplate::compile(input.substr(0, end));
  if (!compiled) {
    PAGODA_CHECK(compiled.error().code == ErrorCode::invalid_argument, "{}", compiled.error().message);
    return 0;
  }
  const auto rendered = compiled->render(context);
  PAGODA_CHECK(rendered || rendered.error().code == ErrorCode::invalid_argument, "{}",
               rendered.error().message);
  return 0;
}
