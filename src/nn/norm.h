// Normalisation of one row, by whichever rule the model uses.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "weights/decoder_weights.h"

namespace pagoda {

enum class NormKind { rms, layer };

struct NormSpec {
  NormKind kind = NormKind::rms;
  float eps = 0.0f;
};

// out may be x.
inline void normalize(const Kernels& kernels, const NormSpec& spec, const NormWeight& norm, const float* x,
                      int64_t n, float* out) {
  if (spec.kind == NormKind::rms)
    kernels.ops.rms_norm(x, norm.weight, n, spec.eps, 0.0f, out);
  else
    kernels.ops.layer_norm(x, norm.weight, norm.bias, n, spec.eps, out);
}

}  // namespace pagoda
