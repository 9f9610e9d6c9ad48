// The one model class: a decoder-only transformer that a DecoderSpec describes.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "model/decoder_spec.h"
#include "model/model.h"
#include "nn/linear.h"
#include "nn/rope.h"
#include "nn/screened_linear.h"
#include "weights/weight_store.h"

namespace pagoda {

class Decoder final : public Model {
 public:
  // `outer` points into memory that `store` owns.
  Decoder(DecoderSpec spec, ModelInfo info, DecoderOuterWeights outer, std::unique_ptr<WeightStore> store,
          FormatSet activation_formats);

  const ModelInfo& info() const override { return info_; }
  size_t workspace_bytes(const BatchLimits& limits) const override;
  // The workspace must have been reset by the caller.
  void forward(const ForwardBatch& batch, ForwardContext& context, std::span<float> logits) noexcept override;

 private:
  struct Buffers;
  struct Sizes;
  template <class Source>
  Buffers take_buffers(Source& source, const Sizes& sizes) const;

  void find_places(const ForwardBatch& batch, TokenPlaces& places) const;
  void compute_angles(const ForwardBatch& batch, ForwardContext& context, const Buffers& buffers) const;
  using LinearTriple = std::array<const LinearWeight*, 3>;
  // What the linear layers behind `layer` read first, in `storage`; empty where it is not in memory yet.
  LinearGroup linears_after(int layer, LinearTriple& storage) const;
  void run_layers(const ForwardBatch& batch, ForwardContext& context, Buffers& buffers, Step& step);
  void compute_hidden(ForwardContext& context, const Step& step, int64_t first_row) const;
  void compute_logits(ForwardContext& context, const Step& step, const ScreeningScratch& screening,
                      bool only_greatest, std::span<float> logits);

  DecoderSpec spec_;
  ModelInfo info_;
  DecoderOuterWeights outer_;
  std::unique_ptr<WeightStore> store_;
  FormatSet activation_formats_;  // of all linear layers
  std::vector<RopeFrequencies> ropes_;
  int64_t rotary_half_ = 0;  // floats of a position's cosines, of the rope that has most
  ScreeningGate screening_gate_;
};

}  // namespace pagoda
