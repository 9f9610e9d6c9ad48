// Access to the weights of a layer while it is computed. The layer loop asks for one layer after another and
// cannot tell whether they all lie in memory or come and go.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "io/mapped_file.h"
#include "weights/decoder_weights.h"

namespace pagoda {

class WeightStore {
 public:
  // The right to read a layer's weights, given back at the end of its life.
  class Lease {
   public:
    Lease(WeightStore& store, int layer, const DecoderLayerWeights& weights)
        : store_(&store), layer_(layer), weights_(&weights) {}
    Lease(Lease&& other) noexcept
        : store_(std::exchange(other.store_, nullptr)), layer_(other.layer_), weights_(other.weights_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (store_ != nullptr) store_->release(layer_);
    }
    const DecoderLayerWeights& operator*() const { return *weights_; }
    const DecoderLayerWeights* operator->() const { return weights_; }

   private:
    WeightStore* store_;
    int layer_;
    const DecoderLayerWeights* weights_;
  };

  virtual ~WeightStore() = default;
  virtual int num_layers() const = 0;
  // Waits until the layer is readable. Called by one thread, the leases of a step in ascending order of
  // layers.
  virtual Lease acquire(int layer) noexcept = 0;
  // A layer's weights where they are in memory, for hints of what will be read; null where they are not.
  virtual const DecoderLayerWeights* peek(int layer) const noexcept = 0;
  // A hint that acquire(layer) will follow soon. Out of range is nothing to do.
  virtual void prefetch(int layer) noexcept = 0;

 private:
  virtual void release(int layer) noexcept = 0;
};

// All layers in memory.
class ResidentWeights final : public WeightStore {
 public:
  // `memory` is what the layers point into, `files` what tables beside them do.
  ResidentWeights(AlignedBuffer memory, std::vector<std::shared_ptr<const MappedFile>> files,
                  std::vector<DecoderLayerWeights> layers)
      : memory_(std::move(memory)), files_(std::move(files)), layers_(std::move(layers)) {}

  int num_layers() const override { return static_cast<int>(layers_.size()); }
  Lease acquire(int layer) noexcept override { return {*this, layer, layers_[static_cast<size_t>(layer)]}; }
  const DecoderLayerWeights* peek(int layer) const noexcept override {
    return &layers_[static_cast<size_t>(layer)];
  }
  void prefetch(int) noexcept override {}

 private:
  void release(int) noexcept override {}

  AlignedBuffer memory_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<DecoderLayerWeights> layers_;
};

}  // namespace pagoda
