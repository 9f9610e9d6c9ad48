// The two ends of a block (attention or FFN): from the residual stream to quantised, normalised rows and
// back.
#pragma once

#include <cstdint>

#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/step.h"

namespace pagoda {

// Normalises the residual rows and quantises them for linear layers of these formats.
void read_residual(const Step& step, const NormSpec& spec, const NormWeight& norm,
                   FormatSet formats) noexcept;

// Multiplies the current activations by the block's last linear layer and adds the result, normalised first
// where post_norm exists, to the residual stream.
void add_to_residual(const Step& step, const LinearWeight& last, const NormSpec& spec,
                     const NormWeight& post_norm) noexcept;

}  // namespace pagoda
