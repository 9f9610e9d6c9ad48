// The definition of quantised activations.
#include "kernels/isa/quantize_driver.h"
#include "kernels/isa/tables.h"
#include "tensor/half.h"

namespace pagoda::isa_scalar {

namespace {

struct Body {
  static float max_magnitude(const float* x, int n) {
    float max = 0.0f;
    for (int i = 0; i < n; ++i) {
      const float magnitude = __builtin_fabsf(x[i]);
      max = magnitude > max ? magnitude : max;
    }
    return max;
  }
  static HalfSums quantise32(const float* x, float factor, int8_t* q) {
    constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, to nearest even
    int sums[2] = {};
    for (int i = 0; i < 32; ++i) {
      float value = x[i] * factor;
      value = value == value ? value : 0.0f;
      value = value > -127.0f ? value : -127.0f;
      value = value < 127.0f ? value : 127.0f;
      q[i] = static_cast<int8_t>((value + kRounder) - kRounder);
      sums[i / 16] += q[i];
    }
    return {sums[0], sums[1]};
  }
  static void round_to_bf16(const float* x, int64_t n, uint16_t* out) {
    for (int64_t i = 0; i < n; ++i) out[i] = f32_to_bf16(x[i]);
  }
};

}  // namespace

void quantize(ActivationFormat format, const float* x, int64_t num_cols, std::byte* out) noexcept {
  quantise_row<Body>(format, x, num_cols, out);
}

}  // namespace pagoda::isa_scalar
