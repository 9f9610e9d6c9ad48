// Rotary position embedding (RoFormer, https://arxiv.org/abs/2104.09864): the frequencies of a model and the
// cosines and sines of a batch. Pairs are halves (i, i + rotary_dim / 2).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pagoda {

struct RopeSpec {
  enum class Scaling {
    none,
    linear,  // positions divided by `factor`
    llama3,  // low frequencies divided by `factor`, a ramp in between
    yarn,    // https://arxiv.org/abs/2309.00071: as llama3 with another ramp, and longer vectors
  };
  int64_t rotary_dim = 0;  // even
  double base = 10000.0;
  Scaling scaling = Scaling::none;
  double factor = 1.0;
  double original_max_context = 0.0;  // llama3, yarn: positions before scaling
  double low_freq_factor = 1.0;       // llama3
  double high_freq_factor = 4.0;      // llama3
  double beta_fast = 32.0;            // yarn
  double beta_slow = 1.0;             // yarn
  double attention_factor = 0.0;      // yarn: factor of cosines and sines; 0: 0.1 ln(factor) + 1

  bool operator==(const RopeSpec&) const = default;
};

// Immutable after construction.
class RopeFrequencies {
 public:
  // `divisors`: [rotary_dim / 2] or empty; what each frequency is divided by (GGUF stores llama3's scaling
  // like this).
  RopeFrequencies(const RopeSpec& spec, std::span<const float> divisors);

  int64_t rotary_dim() const { return 2 * static_cast<int64_t>(inverse_.size()); }
  // Cosines and sines of one position: [rotary_dim / 2] each.
  void angles(int32_t position, float* cos, float* sin) const noexcept;

 private:
  std::vector<float> inverse_;  // radians per position, in f32 as models are trained with
  float magnitude_ = 1.0f;
};

}  // namespace pagoda
