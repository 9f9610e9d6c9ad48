// JSON where a library would be too much.
#pragma once

#include <string>
#include <string_view>

namespace pagoda {

// Appends `text` as a JSON string in quotes. Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

}  // namespace pagoda
