#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pagoda {

namespace {

constexpr double kTwoPi = 2.0 * std::numbers::pi;

double scale_llama3(const RopeSpec& spec, double frequency) {
  const double wavelength = kTwoPi / frequency;
  if (wavelength < spec.original_max_context / spec.high_freq_factor) return frequency;
  if (wavelength > spec.original_max_context / spec.low_freq_factor) return frequency / spec.factor;
  const double smooth = (spec.original_max_context / wavelength - spec.low_freq_factor) /
                        (spec.high_freq_factor - spec.low_freq_factor);
  return (1.0 - smooth) * frequency / spec.factor + smooth * frequency;
}

// The dimension that turns `rotations` times over the original context.
double yarn_dimension(const RopeSpec& spec, double rotations) {
  return static_cast<double>(spec.rotary_dim) * std::log(spec.original_max_context / (rotations * kTwoPi)) /
         (2.0 * std::log(spec.base));
}

double scale_yarn(const RopeSpec& spec, int64_t i, double frequency) {
  const double low = std::max(std::floor(yarn_dimension(spec, spec.beta_fast)), 0.0);
  double high =
      std::min(std::ceil(yarn_dimension(spec, spec.beta_slow)), static_cast<double>(spec.rotary_dim - 1));
  if (low == high) high += 0.001;
  const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  return frequency / spec.factor * ramp + frequency * (1.0 - ramp);
}

}  // namespace

RopeFrequencies::RopeFrequencies(const RopeSpec& spec, std::span<const float> divisors) {
  const int64_t half = spec.rotary_dim / 2;
  inverse_.resize(static_cast<size_t>(half));
  for (int64_t i = 0; i < half; ++i) {
    double frequency =
        std::pow(spec.base, -2.0 * static_cast<double>(i) / static_cast<double>(spec.rotary_dim));
    switch (spec.scaling) {
      case RopeSpec::Scaling::none:
        break;
      case RopeSpec::Scaling::linear:
        frequency /= spec.factor;
        break;
      case RopeSpec::Scaling::llama3:
        frequency = scale_llama3(spec, frequency);
        break;
      case RopeSpec::Scaling::yarn:
        frequency = scale_yarn(spec, i, frequency);
        break;
    }
    if (!divisors.empty()) frequency /= static_cast<double>(divisors[static_cast<size_t>(i)]);
    inverse_[static_cast<size_t>(i)] = static_cast<float>(frequency);
  }
  if (spec.scaling == RopeSpec::Scaling::yarn)
    magnitude_ = static_cast<float>(spec.attention_factor != 0.0 ? spec.attention_factor
                                                                 : 0.1 * std::log(spec.factor) + 1.0);
}

void RopeFrequencies::angles(int32_t position, float* cos, float* sin) const noexcept {
  for (size_t i = 0; i < inverse_.size(); ++i) {
    const float angle = static_cast<float>(position) * inverse_[i];
    cos[i] = static_cast<float>(std::cos(static_cast<double>(angle))) * magnitude_;
    sin[i] = static_cast<float>(std::sin(static_cast<double>(angle))) * magnitude_;
  }
}

}  // namespace pagoda
