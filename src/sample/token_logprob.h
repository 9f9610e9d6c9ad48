#pragma once

#include <cstdint>

namespace pagoda {

struct TokenLogprob {
  int32_t token = 0;
  float logprob =
      0.0f;  // natural logarithm, of the unmodified distribution (before penalties and temperature)
};

}  // namespace pagoda
