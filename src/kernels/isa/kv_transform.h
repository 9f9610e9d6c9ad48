// The transform of K's dims, and of q's, for int8 pages (kernels/kv_page.h), over a 16-lane vector type V.
#pragma once

#include <cstdint>

#include "kernels/kv_page.h"

namespace pagoda {

template <class V>
struct KvTransform {
  // A group of dims that has another size stays as it is.
  static bool applies(int num_dims) { return num_dims == kKvGroupDims || num_dims == 16; }

  // A group's values: low the first 16, high the others, if there are any.
  static void apply(V& low, V& high, int num_dims) {
    if (!applies(num_dims)) return;
    if (num_dims == kKvGroupDims) {
      const V sum = low + high;
      high = low - high;
      low = sum;
      high = lanes(high);
    }
    low = lanes(low);
  }
  // Of a transformed q, so that its products with a transformed k are those of q and k.
  static float query_scale(int num_dims) {
    return applies(num_dims) ? 1.0f / static_cast<float>(num_dims) : 1.0f;
  }

 private:
  // (a, b) of lanes that differ in that bit becomes (a + b, a - b).
  template <int Bit>
  static V step(V x) {
    constexpr uint32_t kSecond = Bit == 8 ? 0xff00 : Bit == 4 ? 0xf0f0 : Bit == 2 ? 0xcccc : 0xaaaa;
    const V other = V::template exchange<Bit>(x);
    return V::select_bits(kSecond, other - x, x + other);
  }
  static V lanes(V x) { return step<1>(step<2>(step<4>(step<8>(x)))); }
};

}  // namespace pagoda
