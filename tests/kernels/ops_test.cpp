// Norms, rope, activations and reductions: close to double precision, and the same bits on every ISA.
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernels.h"
#include "tensor/half.h"

namespace pagoda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const std::vector<int64_t> kLengths = {1, 2, 15, 16, 17, 31, 33, 64, 100, 257};

std::vector<Isa> isas() {
  return available_isas(detect_cpu());
}

std::vector<float> random_values(int64_t n, uint32_t seed, float spread = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

// Every magnitude, both signs, and the special values.
std::vector<float> special_values() {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               kInfinity,
                               -kInfinity,
                               kNan,
                               std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::min(),
                               std::numeric_limits<float>::denorm_min(),
                               -87.0f,
                               -87.0001f,
                               88.0f,
                               88.1f,
                               0.625f,
                               -0.625f};
  for (uint32_t bits = 0x00000001; bits < 0x7f800000; bits += 0x00034567) {
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(-std::bit_cast<float>(bits));
  }
  return values;
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b, const char* what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << what << " at " << i << ": " << a[i];
  }
}

// Runs `compute` on every ISA and expects the scalar bits.
void expect_isa_independence(const char* what,
                             const std::function<std::vector<float>(const OpKernels&)>& compute) {
  const std::vector<float> reference = compute(kernels_for(Isa::scalar).ops);
  for (const Isa isa : isas()) {
    SCOPED_TRACE(to_string(isa));
    expect_same_bits(reference, compute(kernels_for(isa).ops), what);
  }
}

const OpKernels& scalar() {
  return kernels_for(Isa::scalar).ops;
}

TEST(Ops, RmsNormIsNearDoublePrecision) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 1, 3.0f);
    const auto weight = random_values(n, 2);
    std::vector<float> out(x.size());
    scalar().rms_norm(x.data(), weight.data(), n, 1e-5f, 1.0f, out.data());
    double squares = 0;
    for (const float v : x) squares += double{v} * v;
    const double factor = 1.0 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(out[i], x[i] * factor * (weight[i] + 1.0), 2e-6 * (1 + std::abs(out[i])));
  }
}

TEST(Ops, LayerNormIsNearDoublePrecision) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 3, 3.0f);
    const auto weight = random_values(n, 4);
    const auto bias = random_values(n, 5);
    std::vector<float> out(x.size());
    scalar().layer_norm(x.data(), weight.data(), bias.data(), n, 1e-5f, out.data());
    double mean = 0;
    for (const float v : x) mean += v;
    mean /= static_cast<double>(n);
    double variance = 0;
    for (const float v : x) variance += (v - mean) * (v - mean);
    const double factor = 1.0 / std::sqrt(variance / static_cast<double>(n) + 1e-5);
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = n == 1 ? double{bias[i]} : (x[i] - mean) * factor * weight[i] + bias[i];
      EXPECT_NEAR(out[i], want, 1e-5 * (1 + std::abs(want))) << n;
    }
  }
}

TEST(Ops, NormsHaveTheSameBitsOnEveryIsa) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 6, 10.0f);
    const auto weight = random_values(n, 7);
    const auto bias = random_values(n, 8);
    expect_isa_independence("rms_norm", [&](const OpKernels& ops) {
      std::vector<float> out(x.size());
      ops.rms_norm(x.data(), weight.data(), n, 1e-6f, 0.0f, out.data());
      return out;
    });
    for (const float* shift : {bias.data(), static_cast<const float*>(nullptr)})
      expect_isa_independence("layer_norm", [&](const OpKernels& ops) {
        std::vector<float> out(x.size());
        ops.layer_norm(x.data(), weight.data(), shift, n, 1e-6f, out.data());
        return out;
      });
  }
}

TEST(Ops, RopeRotatesHalvesAndLeavesTheRest) {
  constexpr int64_t kHeads = 3;
  for (const auto& [head_dim, rotary_dim] :
       {std::pair<int64_t, int64_t>{24, 24}, {64, 64}, {80, 32}, {20, 10}}) {
    const auto x = random_values(kHeads * head_dim, 9);
    const int64_t half = rotary_dim / 2;
    std::vector<float> cos(static_cast<size_t>(half));
    std::vector<float> sin(cos.size());
    for (size_t i = 0; i < cos.size(); ++i) {
      cos[i] = std::cos(0.3f * static_cast<float>(i + 1));
      sin[i] = std::sin(0.3f * static_cast<float>(i + 1));
    }
    const auto rotate = [&](const OpKernels& ops) {
      std::vector<float> out = x;
      ops.rope(out.data(), kHeads, head_dim, rotary_dim, cos.data(), sin.data());
      return out;
    };
    const auto out = rotate(scalar());
    for (int64_t head = 0; head < kHeads; ++head)
      for (int64_t i = 0; i < head_dim; ++i) {
        const auto at = static_cast<size_t>(head * head_dim + i);
        double want = x[at];
        if (i < half)
          want = double{x[at]} * cos[static_cast<size_t>(i)] -
                 double{x[at + static_cast<size_t>(half)]} * sin[static_cast<size_t>(i)];
        else if (i < rotary_dim)
          want = double{x[at]} * cos[static_cast<size_t>(i - half)] +
                 double{x[at - static_cast<size_t>(half)]} * sin[static_cast<size_t>(i - half)];
        EXPECT_NEAR(out[at], want, 1e-6);
      }
    expect_isa_independence("rope", rotate);
  }
}

double activation_reference(Activation::Kind kind, double x) {
  switch (kind) {
    case Activation::Kind::silu:
      return x / (1 + std::exp(-x));
    case Activation::Kind::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::Kind::gelu_erf:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::Kind::relu:
      return x > 0 ? x : 0;
  }
  return 0;
}
constexpr Activation::Kind kKinds[] = {Activation::Kind::silu, Activation::Kind::gelu_tanh,
                                       Activation::Kind::gelu_erf, Activation::Kind::relu};

TEST(Ops, ActivationsAreNearDoublePrecision) {
  std::vector<float> x;
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) * 0.005f);
  for (const Activation::Kind kind : kKinds) {
    std::vector<float> out = x;
    scalar().activate(kind, out.data(), static_cast<int64_t>(out.size()));
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(out[i], activation_reference(kind, x[i]), 1e-6 * (1 + std::abs(x[i]))) << x[i];
  }
}

TEST(Ops, ActivationsHaveTheSameBitsOnEveryIsa) {
  const auto x = special_values();
  const auto up = random_values(static_cast<int64_t>(x.size()), 10);
  for (const Activation::Kind kind : kKinds) {
    expect_isa_independence("activate", [&](const OpKernels& ops) {
      std::vector<float> out = x;
      ops.activate(kind, out.data(), static_cast<int64_t>(out.size()));
      return out;
    });
    expect_isa_independence("activate_and_multiply", [&](const OpKernels& ops) {
      std::vector<float> out(x.size());
      ops.activate_and_multiply(kind, x.data(), up.data(), static_cast<int64_t>(x.size()), out.data());
      return out;
    });
  }
}

TEST(Ops, NanStaysNan) {
  for (const Activation::Kind kind : kKinds) {
    std::vector<float> x(17, kNan);
    scalar().activate(kind, x.data(), 17);
    for (const float value : x) EXPECT_TRUE(std::isnan(value));
  }
}

TEST(Ops, SoftcapIsNearDoublePrecision) {
  std::vector<float> x;
  for (int i = -3000; i <= 3000; ++i) x.push_back(static_cast<float>(i) * 0.1f);
  const auto cap = [&](const OpKernels& ops) {
    std::vector<float> out = x;
    ops.softcap(out.data(), 50.0f, static_cast<int64_t>(out.size()));
    return out;
  };
  const auto out = cap(scalar());
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = 50.0 * std::tanh(double{x[i]} / 50.0);
    EXPECT_NEAR(out[i], want, 4e-7 * std::max(1.0, std::abs(want)));
  }
  expect_isa_independence("softcap", cap);
}

TEST(Ops, AddAndScale) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 11);
    const auto y = random_values(n, 12);
    for (const Isa isa : isas()) {
      auto sum = x;
      kernels_for(isa).ops.add(sum.data(), y.data(), n);
      auto scaled = x;
      kernels_for(isa).ops.scale(scaled.data(), 1.5f, n);
      for (size_t i = 0; i < x.size(); ++i) {
        EXPECT_EQ(sum[i], x[i] + y[i]);
        EXPECT_EQ(scaled[i], x[i] * 1.5f);
      }
    }
  }
}

TEST(Ops, ArgmaxTakesTheFirstOfEqualsAndNeverNan) {
  for (const Isa isa : isas()) {
    const OpKernels& ops = kernels_for(isa).ops;
    for (const int64_t n : kLengths) {
      auto x = random_values(n, static_cast<uint32_t>(n));
      EXPECT_EQ(ops.argmax(x.data(), n), std::max_element(x.begin(), x.end()) - x.begin());
      EXPECT_EQ(ops.max(x.data(), n), *std::max_element(x.begin(), x.end()));
      x[static_cast<size_t>(n - 1)] = kNan;
      if (n > 1) {
        EXPECT_EQ(ops.argmax(x.data(), n), std::max_element(x.begin(), x.end() - 1) - x.begin());
      }
      std::ranges::fill(x, 7.0f);
      EXPECT_EQ(ops.argmax(x.data(), n), 0);
      std::ranges::fill(x, kNan);
      EXPECT_EQ(ops.argmax(x.data(), n), 0);
      std::ranges::fill(x, -kInfinity);
      EXPECT_EQ(ops.argmax(x.data(), n), 0);
    }
  }
}

TEST(Ops, ArgmaxOverManyBlocks) {
  for (const Isa isa : isas()) {
    const OpKernels& ops = kernels_for(isa).ops;
    std::vector<float> x(5000, -kInfinity);
    std::fill_n(x.begin(), 2500, kNan);
    EXPECT_EQ(ops.argmax(x.data(), 5000), 2500);
    for (const size_t at : {4999u, 4096u, 4095u, 1024u, 1023u, 0u}) {
      x[at] = 1.0f;
      EXPECT_EQ(ops.argmax(x.data(), 5000), static_cast<int64_t>(at));
    }
    x[3000] = kInfinity;
    EXPECT_EQ(ops.argmax(x.data(), 5000), 3000);
  }
}

TEST(Ops, OneInvalidValueIsFoundWhereverItIs) {
  for (const Isa isa : isas()) {
    const OpKernels& ops = kernels_for(isa).ops;
    for (const int64_t n : {1, 16, 37, 1000}) {
      std::vector<float> x = random_values(n, 31, 1e30f);
      x[0] = -kInfinity;
      EXPECT_TRUE(ops.all_valid(x.data(), n));
      for (const int64_t at : {int64_t{0}, n / 2, n - 1})
        for (const float invalid : {kNan, -kNan, kInfinity}) {
          const float kept = std::exchange(x[static_cast<size_t>(at)], invalid);
          EXPECT_FALSE(ops.all_valid(x.data(), n)) << to_string(isa) << " " << n << " " << at;
          x[static_cast<size_t>(at)] = kept;
        }
    }
  }
}

TEST(Ops, DivideAndExponentiate) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 32, 5.0f);
    const auto apply = [&](const OpKernels& ops) {
      std::vector<float> out(static_cast<size_t>(n));
      ops.divide(x.data(), 0.7f, n, out.data());
      std::vector<float> weights(out.size());
      ops.exponentiate(out.data(), 60.0f, n, weights.data());
      out.insert(out.end(), weights.begin(), weights.end());
      return out;
    };
    expect_isa_independence("divide, exponentiate", apply);
    const std::vector<float> out = apply(scalar());
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(out[i], x[i] / 0.7f);
      EXPECT_FLOAT_EQ(out[x.size() + i], std::exp(out[i] - 60.0f));
    }
  }
}

TEST(Ops, AMaskLeavesItsTokens) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 33);
    std::vector<uint32_t> mask(static_cast<size_t>(n + 31) / 32);
    std::mt19937 generator(34);
    for (uint32_t& word : mask) word = generator();
    for (const Isa isa : isas()) {
      std::vector<float> out(x.size() + 1, 5.0f);
      kernels_for(isa).ops.apply_mask(x.data(), mask.data(), n, out.data());
      for (size_t i = 0; i < x.size(); ++i)
        EXPECT_EQ(out[i], (mask[i / 32] >> (i % 32) & 1u) != 0 ? x[i] : -kInfinity) << to_string(isa);
      EXPECT_EQ(out.back(), 5.0f);
    }
  }
}

TEST(Ops, LogSumExpOfInfinities) {
  for (const Isa isa : isas()) {
    const OpKernels& ops = kernels_for(isa).ops;
    std::vector<float> x(20, -kInfinity);
    EXPECT_EQ(ops.log_sum_exp(x.data(), 20), -kInfinity);
    x[18] = kNan;
    EXPECT_TRUE(std::isnan(ops.log_sum_exp(x.data(), 20)));
    x[18] = -kInfinity;
    x[3] = 2.5f;
    EXPECT_EQ(ops.log_sum_exp(x.data(), 20), 2.5f);
    x[17] = kInfinity;
    EXPECT_EQ(ops.log_sum_exp(x.data(), 20), kInfinity);
    x[18] = kNan;
    EXPECT_TRUE(std::isnan(ops.log_sum_exp(x.data(), 20)));
  }
}

TEST(Ops, LogSumExp) {
  for (const int64_t n : kLengths) {
    const auto x = random_values(n, 13, 5.0f);
    double total = 0;
    for (const float v : x) total += std::exp(double{v});
    EXPECT_NEAR(scalar().log_sum_exp(x.data(), n), std::log(total), 2e-6 * (1 + std::abs(std::log(total))));
    expect_isa_independence("log_sum_exp", [&](const OpKernels& ops) {
      return std::vector<float>{ops.log_sum_exp(x.data(), n)};
    });
  }
  std::vector<float> large(40, 1e30f);
  EXPECT_FLOAT_EQ(scalar().log_sum_exp(large.data(), 40), 1e30f);
}

// The error of exp, seen through the softmax-like log_sum_exp of one far value, and over its range by silu's
// tail.
TEST(Ops, ExpIsAccurateOverItsRange) {
  double worst = 0;
  for (int i = 0; i < 20000; ++i) {
    const float x = -80.0f + 0.004f * static_cast<float>(i);
    float value = x;
    scalar().activate(Activation::Kind::silu, &value, 1);
    const double want = double{x} / (1 + std::exp(-double{x}));
    if (want != 0) worst = std::max(worst, std::abs(value - want) / std::abs(want));
  }
  EXPECT_LT(worst, 4e-7);
}

}  // namespace
}  // namespace pagoda
