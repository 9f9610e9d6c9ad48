// Ids of tool calls: of those in an answer, and of those that a client sends back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pagoda {

enum class CallIdStyle {
  any,
  nine_letters,  // Mistral's templates refuse all but nine letters and digits
};

// As the source of a chat template demands.
CallIdStyle detect_call_id_style(std::string_view chat_template);

// The id itself if it is of the style, else one made of it: the same for the same id.
std::string styled_call_id(std::string id, CallIdStyle style);

// Names the calls of one choice of an answer.
struct CallIds {
  std::string prefix;  // "call_1f2e…_", so that ids differ between answers and choices
  CallIdStyle style = CallIdStyle::any;

  std::string at(int64_t index) const { return styled_call_id(prefix + std::to_string(index), style); }
};

}  // namespace pagoda
