// Writing K and V of new tokens to their pages, over a 16-lane vector type V and the integer vectors I that
// go with it; see kernels/kv_page.h for what is written.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa/kv_transform.h"
#include "kernels/isa/ops_math.h"
#include "kernels/ops.h"
#include "tensor/half.h"

namespace pagoda {

template <class V, class I>
struct AppendKv {
  // A KV head's dims [begin, end).
  struct Dims {
    int head;
    int begin;
    int end;

    Dims(const KvShape& shape, int64_t part)
        : head(static_cast<int>(part) / shape.num_groups()),
          begin(static_cast<int>(part) % shape.num_groups() * kKvGroupDims),
          end(begin + kKvGroupDims < shape.head_dim ? begin + kKvGroupDims : shape.head_dim) {}
    int count() const { return end - begin; }
  };

  // Where a token's elements stand in a plane.
  static int k_index(int d, int slot) { return (d / 2 * kPageTokens + slot) * 2 + d % 2; }
  static int v_index(int d, int slot) {
    return (d / 16 * kPageTokens + slot / 2 * 2) * 16 + d % 16 * 2 + slot % 2;
  }

  // The first n of 16 values.
  static V load(const float* p, int n) {
    return n >= 16 ? V::load(p) : n > 0 ? V::load_n(p, n) : V::set1(0.0f);
  }

  // ---- f32 ----

  static void append_f32(const KvLayerView& kv, PageId page, int slot, const Dims& dims, const float* k,
                         const float* v) {
    auto* k_plane = reinterpret_cast<float*>(kv.k_plane(page, dims.head));
    auto* v_plane = reinterpret_cast<float*>(kv.v_plane(page, dims.head));
    for (int d = dims.begin; d < dims.end; ++d) k_plane[k_index(d, slot)] = k[d];
    for (int d = dims.begin; d < dims.end; ++d) v_plane[v_index(d, slot)] = v[d];
  }

  // ---- bf16 ----

  static void append_k_bf16(const KvLayerView& kv, PageId page, int slot, const Dims& dims, const float* k) {
    alignas(64) float padded[kKvGroupDims];
    load(k + dims.begin, dims.count()).store(padded);
    load(k + dims.begin + 16, dims.count() - 16).store(padded + 16);
    V even;
    V odd;
    V::load_pairs(padded, even, odd);
    alignas(64) uint16_t pairs[kKvGroupDims];
    V::store_pairs_bf16(even, odd, pairs);
    auto* plane = reinterpret_cast<uint16_t*>(kv.k_plane(page, dims.head));
    for (int d = dims.begin; d < dims.end; d += 2)
      __builtin_memcpy(plane + k_index(d, slot), pairs + d - dims.begin, 2 * sizeof *pairs);
  }

  // Of one token.
  static void append_v_bf16(const KvLayerView& kv, PageId page, int slot, const Dims& dims, const float* v) {
    auto* plane = reinterpret_cast<uint16_t*>(kv.v_plane(page, dims.head));
    for (int d = dims.begin; d < dims.end; ++d) plane[v_index(d, slot)] = f32_to_bf16(v[d]);
  }
  // Of the tokens in an even slot and in the next.
  static void append_v_pair_bf16(const KvLayerView& kv, PageId page, int slot, const Dims& dims,
                                 const float* v, const float* next_v) {
    auto* plane = reinterpret_cast<uint16_t*>(kv.v_plane(page, dims.head));
    for (int d = dims.begin; d < dims.end; d += 16)
      V::store_pairs_bf16(load(v + d, dims.end - d), load(next_v + d, dims.end - d),
                          plane + v_index(d, slot));
  }

  // ---- int8 ----

  static constexpr uint16_t kNan = 0x7fc0;  // as bf16

  // The values' levels and their scale: bf16, the smallest with which 127 levels reach them all. 0 levels of
  // scale 0 where a value is not finite.
  struct Quantised {
    alignas(64) int16_t levels[kKvGroupDims];
    uint16_t scale = 0;
    bool is_finite = true;

    Quantised(V low, V high) {
      const V zero = V::set1(0.0f);
      const float check = V::sum(V::fma(low, zero, high * zero));
      is_finite = check == 0.0f;
      if (!is_finite) low = high = zero;
      const float greatest = V::max_lane(V::max(V::abs(low), V::abs(high)));
      scale = round_up_to_bf16(greatest / 127.0f);
      const V divisor = V::set1(scale == 0 ? 1.0f : bf16_to_f32(scale));
      const V rounder = V::set1(Math<V>::kIntegerRounder);
      I::store_low_halves(low / divisor + rounder, levels);
      I::store_low_halves(high / divisor + rounder, levels + 16);
    }
    // Of a positive number.
    static uint16_t round_up_to_bf16(float value) {
      return static_cast<uint16_t>((__builtin_bit_cast(uint32_t, value) + 0xffff) >> 16);
    }
  };

  static Quantised quantise(const float* p, int num_dims) {
    return Quantised(load(p, num_dims), load(p + 16, num_dims - 16));
  }

  static void transform(const float* k, int num_dims, float* out) {
    V low = load(k, num_dims);
    V high = load(k + 16, num_dims - 16);
    KvTransform<V>::apply(low, high, num_dims);
    low.store(out);
    high.store(out + 16);
  }

  static bool is_finite(const float* p, int n) {
    const V zero = V::set1(0.0f);
    V product = zero;
    for (int i = 0; i < n; i += 16) product = V::fma(load(p + i, n - i), zero, product);
    return V::sum(product) == 0.0f;
  }

  static uint16_t* k_scales(const KvLayerView& kv, int8_t* k_plane, const Dims& dims) {
    return reinterpret_cast<uint16_t*>(k_plane + kv.shape->head_dim * kPageTokens) +
           dims.begin / kKvGroupDims * kPageTokens;
  }

  // The mean K of a full page. Tokens that are not finite count as being at its offset.
  static void mean_k(const KvLayerView& kv, PageId page, const Dims& dims, float* mean) {
    auto* plane = reinterpret_cast<int8_t*>(kv.k_plane(page, dims.head));
    const auto* offset = reinterpret_cast<const uint16_t*>(kv.k_offset_plane(page, dims.head));
    float scales[kPageTokens];
    for (int slot = 0; slot < kPageTokens; ++slot) {
      const uint16_t scale = k_scales(kv, plane, dims)[slot];
      scales[slot] = scale == kNan ? 0.0f : bf16_to_f32(scale);
    }
    for (int d = dims.begin; d < dims.end; ++d) {
      float sum = 0.0f;
      for (int slot = 0; slot < kPageTokens; ++slot)
        sum = __builtin_fmaf(scales[slot], static_cast<float>(plane[k_index(d, slot)]), sum);
      mean[d - dims.begin] = __builtin_fmaf(sum, 1.0f / kPageTokens, bf16_to_f32(offset[d]));
    }
  }

  // For a page whose first token's group is k, transformed.
  static void write_k_offset(const KvAppendArgs& args, int64_t position, const Dims& dims, const float* k) {
    float offset[kKvGroupDims] = {};
    if (position > 0)
      mean_k(args.kv, args.page_table[position / kPageTokens - 1], dims, offset);
    else if (is_finite(k, dims.count()))
      for (int d = 0; d < dims.count(); ++d) offset[d] = k[d];
    auto* plane = reinterpret_cast<uint16_t*>(
        args.kv.k_offset_plane(args.page_table[position / kPageTokens], dims.head));
    for (int d = dims.begin; d < dims.end; ++d) plane[d] = f32_to_bf16(offset[d - dims.begin]);
    for (int d = dims.end; d % 16 != 0; ++d) plane[d] = 0;  // read with the others
  }

  static void append_k_int8(const KvAppendArgs& args, int64_t position, const Dims& dims, const float* k,
                            bool is_valid) {
    const KvLayerView& kv = args.kv;
    const PageId page = args.page_table[position / kPageTokens];
    const auto slot = static_cast<int>(position % kPageTokens);
    alignas(64) float group_k[kKvGroupDims];
    transform(k + dims.begin, dims.count(), group_k);
    if (slot == 0) write_k_offset(args, position, dims, group_k);
    const auto* offset = reinterpret_cast<const uint16_t*>(kv.k_offset_plane(page, dims.head));
    alignas(64) float rest[kKvGroupDims];
    for (int d = dims.begin; d < dims.end; ++d)
      rest[d - dims.begin] = group_k[d - dims.begin] - bf16_to_f32(offset[d]);
    const Quantised group = quantise(rest, dims.count());
    auto* plane = reinterpret_cast<int8_t*>(kv.k_plane(page, dims.head));
    for (int d = dims.begin; d < dims.end; ++d)
      plane[k_index(d, slot)] = static_cast<int8_t>(group.levels[d - dims.begin]);
    k_scales(kv, plane, dims)[slot] = group.is_finite && is_valid ? group.scale : kNan;
  }

  static void append_v_int8(const KvLayerView& kv, PageId page, int slot, const Dims& dims, const float* v) {
    const Quantised group = quantise(v + dims.begin, dims.count());
    auto* plane = reinterpret_cast<int8_t*>(kv.v_plane(page, dims.head));
    for (int d = dims.begin; d < dims.end; ++d)
      plane[v_index(d, slot)] = static_cast<int8_t>(group.levels[d - dims.begin]);
    reinterpret_cast<uint16_t*>(
        kv.v_scale_plane(page, dims.head))[dims.begin / kKvGroupDims * kPageTokens + slot] = group.scale;
  }

  // ---- all types ----

  static void append(const KvAppendArgs& args, int64_t part) noexcept {
    const KvShape& shape = *args.kv.shape;
    const Dims dims(shape, part);
    for (int64_t token = 0; token < args.num_tokens; ++token) {
      const int64_t position = args.first_position + token;
      const PageId page = args.page_table[position / kPageTokens];
      const auto slot = static_cast<int>(position % kPageTokens);
      const float* k = args.k + token * args.stride + dims.head * shape.head_dim;
      const float* v = args.v + token * args.stride + dims.head * shape.head_dim;
      switch (shape.type) {
        case KvType::f32:
          append_f32(args.kv, page, slot, dims, k, v);
          break;
        case KvType::bf16:
          append_k_bf16(args.kv, page, slot, dims, k);
          if (slot % 2 == 0 && token + 1 < args.num_tokens)
            append_v_pair_bf16(args.kv, page, slot, dims, v, v + args.stride);
          else if (slot % 2 == 0 || token == 0)  // others went with the token before them
            append_v_bf16(args.kv, page, slot, dims, v);
          break;
        case KvType::int8:
          // V has no way to be NaN: the token's score is, in its first group.
          append_k_int8(args, position, dims, k, dims.begin > 0 || is_finite(v, shape.head_dim));
          append_v_int8(args.kv, page, slot, dims, v);
          break;
      }
    }
  }
};

}  // namespace pagoda
