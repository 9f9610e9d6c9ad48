// Text that a client gives as a string or in parts: "…", or [{"type": "text", "text": "…"}, …].
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>

#include "server/openai/fields.h"

namespace pagoda {

// How an API speaks of parts: {"a string or an array of parts", "[{}]"} makes messages[0].
struct PartStyle {
  const char* expected = "";       // in place of what is neither a string nor an array
  const char* number_format = "";  // of a part's place, as fmt has it
};
inline constexpr PartStyle kOpenAiParts{"a string or an array of parts", "[{}]"};
inline constexpr PartStyle kAnthropicParts{"a string or an array of blocks", ".{}"};

// Calls `read(part, its type)` for each object of the array at `param`, up to the first error, which becomes
// that of `fields`.
using ReadPart = std::function<void(Fields& part, const std::string& type)>;
void each_part(Fields& fields, const std::string& param, const boost::json::array& parts,
               const PartStyle& style, const ReadPart& read);

// The member as one text, parts joined by line ends; empty if it is absent. `read` gives the text of a part.
using ReadPartText = std::function<std::string(Fields& part, const std::string& type)>;
std::string read_text(Fields& fields, std::string_view name, const PartStyle& style,
                      const ReadPartText& read);

// A string that must be there.
std::string required_text(Fields& fields, std::string_view name);

}  // namespace pagoda
