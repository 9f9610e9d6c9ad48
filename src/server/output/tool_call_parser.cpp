#include "server/output/tool_call_parser.h"

#include <algorithm>
#include <array>

namespace pagoda {
namespace {

// In the order of detection.
constexpr std::array kFormats = {&kMistralCalls, &kHermesCalls, &kPythonicCalls, &kLlamaCalls};

}  // namespace

std::span<const ToolCallFormat* const> tool_call_formats() {
  return kFormats;
}

const ToolCallFormat* find_tool_call_format(std::string_view name) {
  const auto found =
      std::ranges::find(kFormats, name, [](const ToolCallFormat* format) { return format->name; });
  return found != kFormats.end() ? *found : nullptr;
}

const ToolCallFormat* detect_tool_call_format(std::string_view chat_template) {
  const auto found = std::ranges::find_if(
      kFormats, [&](const ToolCallFormat* format) { return format->is_of(chat_template); });
  return found != kFormats.end() ? *found : nullptr;
}

}  // namespace pagoda
