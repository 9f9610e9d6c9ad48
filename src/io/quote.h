// Names from files, made fit for messages.
#pragma once

#include <string>
#include <string_view>

namespace pagoda {

// The text in single quotes on one line: bytes outside printable ASCII as \xNN, at most 80 characters of
// that, then an ellipsis. A hostile name can neither flood a log nor command a terminal.
std::string quote(std::string_view text);

}  // namespace pagoda
