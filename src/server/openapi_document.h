// The API's description, OpenAPI 3.1: openapi.json beside this file, with the version put in. A test holds
// its paths against the routes.
#pragma once

#include <string_view>

namespace pagoda {

std::string_view openapi_document();

}  // namespace pagoda
