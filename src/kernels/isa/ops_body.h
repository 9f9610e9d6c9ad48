// The bodies of kernels/ops.h but attention, over a 16-lane vector type V; I: the integer vectors that go
// with it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa/append_kv.h"
#include "kernels/isa/attention_body.h"
#include "kernels/isa/ops_math.h"
#include "kernels/ops.h"

namespace pagoda {

template <class V, class I>
struct Ops {
  // Calls f(index, number of lanes) for runs of 16 elements; the last run may be shorter.
  template <class F>
  static void for_runs(int64_t n, F&& f) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) f(i, 16);
    if (i < n) f(i, static_cast<int>(n - i));
  }
  static V load(const float* p, int n) { return n == 16 ? V::load(p) : V::load_n(p, n); }
  static void store(V v, float* p, int n) {
    if (n == 16)
      v.store(p);
    else
      v.store_n(p, n);
  }
  template <class F>
  static void map(const float* x, int64_t n, float* out, F&& f) {
    for_runs(n, [&](int64_t i, int lanes) { store(f(load(x + i, lanes)), out + i, lanes); });
  }

  static void rms_norm(const float* x, const float* weight, int64_t n, float eps, float weight_offset,
                       float* out) noexcept {
    V squares = V::set1(0.0f);
    for_runs(n, [&](int64_t i, int lanes) {
      const V v = load(x + i, lanes);
      squares = V::fma(v, v, squares);
    });
    const V factor = V::set1(1.0f / __builtin_sqrtf(V::sum(squares) / static_cast<float>(n) + eps));
    const V offset = V::set1(weight_offset);
    for_runs(n, [&](int64_t i, int lanes) {
      store(load(x + i, lanes) * factor * (load(weight + i, lanes) + offset), out + i, lanes);
    });
  }

  static void layer_norm(const float* x, const float* weight, const float* bias, int64_t n, float eps,
                         float* out) noexcept {
    const V zero = V::set1(0.0f);
    V total = zero;
    for_runs(n, [&](int64_t i, int lanes) { total = total + load(x + i, lanes); });
    const V mean = V::set1(V::sum(total) / static_cast<float>(n));
    V squares = zero;
    for_runs(n, [&](int64_t i, int lanes) {
      const V centred = V::keep(load(x + i, lanes) - mean, 0, lanes, zero);
      squares = V::fma(centred, centred, squares);
    });
    const V factor = V::set1(1.0f / __builtin_sqrtf(V::sum(squares) / static_cast<float>(n) + eps));
    for_runs(n, [&](int64_t i, int lanes) {
      const V normalised = (load(x + i, lanes) - mean) * factor;
      const V shift = bias == nullptr ? zero : load(bias + i, lanes);
      store(V::fma(normalised, load(weight + i, lanes), shift), out + i, lanes);
    });
  }

  static void rope(float* x, int64_t num_heads, int64_t head_dim, int64_t rotary_dim, const float* cos,
                   const float* sin) noexcept {
    const int64_t half = rotary_dim / 2;
    for (int64_t head = 0; head < num_heads; ++head) {
      float* first = x + head * head_dim;
      float* second = first + half;
      for_runs(half, [&](int64_t i, int lanes) {
        const V a = load(first + i, lanes);
        const V b = load(second + i, lanes);
        const V c = load(cos + i, lanes);
        const V s = load(sin + i, lanes);
        store(V::fnma(b, s, a * c), first + i, lanes);
        store(V::fma(a, s, b * c), second + i, lanes);
      });
    }
  }

  template <class F>
  static void with_activation(Activation::Kind kind, F&& use) {
    switch (kind) {
      case Activation::Kind::silu:
        return use([](V v) { return Math<V>::silu(v); });
      case Activation::Kind::gelu_tanh:
        return use([](V v) { return Math<V>::gelu_tanh(v); });
      case Activation::Kind::gelu_erf:
        return use([](V v) { return Math<V>::gelu_erf(v); });
      case Activation::Kind::relu:
        return use([](V v) { return Math<V>::relu(v); });
    }
  }
  static void activate(Activation::Kind kind, float* x, int64_t n) noexcept {
    with_activation(kind, [&](auto act) { map(x, n, x, act); });
  }
  static void activate_and_multiply(Activation::Kind kind, const float* gate, const float* up, int64_t n,
                                    float* out) noexcept {
    with_activation(kind, [&](auto act) {
      for_runs(n, [&](int64_t i, int lanes) {
        store(act(load(gate + i, lanes)) * load(up + i, lanes), out + i, lanes);
      });
    });
  }

  static void add(float* x, const float* y, int64_t n) noexcept {
    for_runs(n, [&](int64_t i, int lanes) { store(load(x + i, lanes) + load(y + i, lanes), x + i, lanes); });
  }
  static void scale(float* x, float factor, int64_t n) noexcept {
    map(x, n, x, [f = V::set1(factor)](V v) { return v * f; });
  }
  static void softcap(float* x, float cap, int64_t n) noexcept {
    map(x, n, x, [c = V::set1(cap)](V v) { return c * Math<V>::tanh(v / c); });
  }

  static float max(const float* x, int64_t n) noexcept {
    const V lowest = V::set1(-__builtin_inff());
    V best = lowest;
    for_runs(
        n, [&](int64_t i, int lanes) { best = V::max(V::keep(load(x + i, lanes), 0, lanes, lowest), best); });
    return V::max_lane(best);
  }
  // The first block that holds the maximum is found in the pass that finds the maximum.
  static int64_t argmax(const float* x, int64_t n) noexcept {
    constexpr int64_t kBlock = 1024;
    float best = -__builtin_inff();
    int64_t best_block = 0;
    for (int64_t block = 0; block < n; block += kBlock) {
      const float greatest = max(x + block, n - block < kBlock ? n - block : kBlock);
      if (greatest > best) {
        best = greatest;
        best_block = block;
      }
    }
    for (int64_t i = best_block; i < n; ++i)
      if (x[i] == best) return i;
    return 0;
  }
  static void bound_groups(const float* x, int64_t n, const std::byte* errors, size_t stride, float length,
                           float* greatest, float* bounds) noexcept {
    const V factor = V::set1(length);
    const V lowest = V::set1(-__builtin_inff());
    for_runs(n, [&](int64_t i, int lanes) {
      const V error = V::load(reinterpret_cast<const float*>(errors + static_cast<size_t>(i / 16) * stride));
      const V outputs = load(x + i, lanes);
      const auto greatest_of = [&](V v) { return V::max_lane(V::keep(V::max(v, lowest), 0, lanes, lowest)); };
      greatest[i / 16] = greatest_of(outputs);
      bounds[i / 16] = greatest_of(V::fma(error, factor, outputs));
    });
  }
  static float total_of(const float* x, int64_t n) {
    V total = V::set1(0.0f);
    for_runs(n, [&](int64_t i, int lanes) { total = total + load(x + i, lanes); });
    return V::sum(total);
  }
  static float log_sum_exp(const float* x, int64_t n) noexcept {
    const float greatest = max(x, n);
    if (greatest == -__builtin_inff()) return total_of(x, n);  // nothing to weigh: -infinity, or NaN
    const float offset = __builtin_fabsf(greatest) < __builtin_inff() ? greatest : 0.0f;
    const V shift = V::set1(offset);
    const V zero = V::set1(0.0f);
    V total = zero;
    for_runs(n, [&](int64_t i, int lanes) {
      total = total + V::keep(Math<V>::exp(load(x + i, lanes) - shift), 0, lanes, zero);
    });
    return offset + Math<V>::log(V::sum(total));
  }

  static bool all_valid(const float* x, int64_t n) noexcept {
    const V lowest = V::set1(-3.402823466e+38f);
    const V zero = V::set1(0.0f);
    V product = zero;  // with zero: NaN once a value is not finite
    for_runs(n, [&](int64_t i, int lanes) {
      product = V::fma(V::max(lowest, load(x + i, lanes)), zero, product);
    });
    const float sum = V::sum(product);
    return sum == sum;
  }
  static void apply_mask(const float* x, const uint32_t* mask, int64_t n, float* out) noexcept {
    const V lowest = V::set1(-__builtin_inff());
    for_runs(n, [&](int64_t i, int lanes) {
      store(V::select_bits(mask[i / 32] >> (i % 32), load(x + i, lanes), lowest), out + i, lanes);
    });
  }
  static void divide(const float* x, float divisor, int64_t n, float* out) noexcept {
    map(x, n, out, [d = V::set1(divisor)](V v) { return v / d; });
  }
  static void exponentiate(const float* x, float shift, int64_t n, float* out) noexcept {
    map(x, n, out, [s = V::set1(shift)](V v) { return Math<V>::exp(v - s); });
  }

  static OpKernels table() {
    return {
        .rms_norm = rms_norm,
        .layer_norm = layer_norm,
        .rope = rope,
        .activate = activate,
        .activate_and_multiply = activate_and_multiply,
        .add = add,
        .scale = scale,
        .softcap = softcap,
        .append_kv = AppendKv<V, I>::append,
        .attention = AttentionBody<V, I, Bf16Pairs<V>>::attention,
        .attention_segment = AttentionBody<V, I, Bf16Pairs<V>>::attention_segment,
        .attention_merge = AttentionBody<V, I, Bf16Pairs<V>>::attention_merge,
        .argmax = argmax,
        .max = max,
        .bound_groups = bound_groups,
        .log_sum_exp = log_sum_exp,
        .all_valid = all_valid,
        .apply_mask = apply_mask,
        .divide = divide,
        .exponentiate = exponentiate,
    };
  }
};

}  // namespace pagoda
