// Cross-origin resource sharing: which web pages may call the server from a browser.
#pragma once

#include <span>
#include <string>

#include "server/http/message.h"

namespace pagoda {

// Adds the headers that a browser wants in every answer, and those of a preflight's. False where there are
// none to add: the request names no origin, or one that is not in the list.
bool add_cors_headers(std::span<const std::string> origins, HttpRequest& head);

}  // namespace pagoda
