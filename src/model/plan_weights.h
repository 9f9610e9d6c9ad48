// Names every tensor of a decoder and hands them to a WeightPlan.
#pragma once

#include <vector>

#include "base/result.h"
#include "io/model_file.h"
#include "model/decoder_spec.h"
#include "weights/decoder_weights.h"
#include "weights/weight_plan.h"

namespace pagoda {

struct DecoderWeights {
  DecoderOuterWeights outer;
  std::vector<DecoderLayerWeights> layers;
};

// `weights` is filled when the plan is loaded and must not move until then. outline_head: the vocabulary
// projection is to have an outline (nn/screened_linear.h). A missing or misshapen tensor is `corrupt` and
// named.
Status plan_weights(const ModelFile& file, const DecoderSpec& spec, const WeightLayout& layout,
                    bool outline_head, WeightPlan& plan, DecoderWeights& weights);

}  // namespace pagoda
