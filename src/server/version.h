#pragma once

#include <string_view>

namespace pagoda {

inline constexpr std::string_view kVersion = PAGODA_VERSION;

}  // namespace pagoda
