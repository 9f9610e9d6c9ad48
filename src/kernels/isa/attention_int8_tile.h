// One segment of attention over int8 pages for a tile of rows, over a 16-lane vector type V and the integer
// vectors I that go with it; see kernels/ops.h for the arithmetic. Like AttentionTile it walks the pages
// twice and reads each plane as it lies.
#pragma once

#include <cstdint>

#include "kernels/isa/attention_rows.h"
#include "kernels/isa/ops_math.h"
#include "kernels/ops.h"

namespace pagoda {

template <class V, class I>
struct Int8AttentionTile {
  static constexpr int kMaxRows = V::kRowTile;
  static constexpr int kMaxGroups = kMaxHeadDim / kKvGroupDims;
  static constexpr int kGroupBlocks = kKvGroupDims / 16;
  static_assert(kGroupBlocks % I::kChains == 0);

  struct Tile {
    const AttentionArgs& args;
    int num_rows = 0;
    AttentionRow rows[kMaxRows];
    float q_step[kMaxRows];
    // Of weights times V's scales, and its inverse.
    float value_step[kMaxGroups][kMaxRows];
    float value_steps_per_unit[kMaxGroups][kMaxRows];
    // Padded, so that the rows' lines do not fall into the same sets of the cache.
    alignas(64) float exact_q[kMaxRows][kMaxHeadDim + 16];
    alignas(64) int16_t q[kMaxRows][kMaxHeadDim + 32];
    alignas(64) float weights[kMaxRows][kSegmentTokens + 16];  // scores at first
    // Of weights times V's scales, in steps.
    alignas(64) int16_t levels[kMaxGroups][kMaxRows][kSegmentTokens + 32];
    alignas(64) int32_t sums[kMaxRows][kMaxHeadDim + 16];

    explicit Tile(const AttentionArgs& a) : args(a) {}
  };

  // One step of 32767 that reach the greatest magnitude; 0 where all are so small that they count as zero.
  static float step_for(float greatest) { return greatest > 0x1p-100f ? greatest / 32767.0f : 0.0f; }
  static float steps_per_unit(float step) { return step > 0.0f ? 1.0f / step : 0.0f; }
  // 16 values in steps.
  static void store_steps(V values, V per_unit, int16_t* out) {
    I::store_low_halves(V::fma(values, per_unit, V::set1(Math<V>::kIntegerRounder)), out);
  }

  static void store_query(Tile& tile, int row, const float* q) {
    const int head_dim = tile.args.kv.shape->head_dim;
    V greatest = V::set1(0.0f);
    V check = V::set1(0.0f);  // NaN once a value is not finite
    for (int d = 0; d < head_dim; d += 16) {
      const V values = d + 16 <= head_dim ? V::load(q + d) : V::load_n(q + d, head_dim - d);
      greatest = V::max(V::abs(values), greatest);
      check = V::fma(values, V::set1(0.0f), check);
      values.store(tile.exact_q[row] + d);
    }
    const float step = step_for(V::max_lane(greatest));
    const V per_unit = V::set1(steps_per_unit(step));
    for (int d = 0; d < head_dim; d += 16)
      store_steps(V::load(tile.exact_q[row] + d), per_unit, tile.q[row] + d);
    tile.q_step[row] = step + V::sum(check);
  }

  // ---- scores ----

  // The integer sums of a group of dims, in as many chains as keep the multipliers busy.
  template <int R>
  static void group_scores(const Tile& tile, const int8_t* k, int begin, int end, I (&sum)[R]) {
    I chains[I::kChains][R];
#pragma GCC unroll 2
    for (int c = 0; c < I::kChains; ++c)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) chains[c][r] = I::zero();
    int d = begin;
    for (; d + 2 * I::kChains <= end; d += 2 * I::kChains)
#pragma GCC unroll 2
      for (int c = 0; c < I::kChains; ++c) {
        const auto pairs = I::load_pairs(k + (d + 2 * c) * kPageTokens);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) chains[c][r] = I::dot(chains[c][r], pairs, tile.q[r] + d + 2 * c);
      }
    for (; d < end; d += 2) {
      const auto pairs = I::load_pairs(k + d * kPageTokens);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) chains[0][r] = I::dot(chains[0][r], pairs, tile.q[r] + d);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      sum[r] = chains[0][r];
#pragma GCC unroll 2
      for (int c = 1; c < I::kChains; ++c) sum[r] = I::add(sum[r], chains[c][r]);
    }
  }

  // q * (k - offset), in q's steps.
  template <int R>
  static void page_scores(const Tile& tile, PageId page, V (&score)[R]) {
    const KvLayerView& kv = tile.args.kv;
    const int head_dim = kv.shape->head_dim;
    const auto* k = reinterpret_cast<const int8_t*>(kv.k_plane(page, tile.args.kv_head));
    const auto* scales = reinterpret_cast<const uint16_t*>(k + head_dim * kPageTokens);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) score[r] = V::set1(0.0f);
    for (int begin = 0; begin < head_dim; begin += kKvGroupDims, scales += kPageTokens) {
      const int end = begin + kKvGroupDims < head_dim ? begin + kKvGroupDims : head_dim;
      I sum[R];
      group_scores(tile, k, begin, end, sum);
      const V scale = V::load_bf16(scales);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) score[r] = V::fma(I::to_float(sum[r]), scale, score[r]);
    }
  }

  // q * offset: what all tokens of the page have in common.
  template <int R>
  static void offset_scores(const Tile& tile, PageId page, V (&score)[R]) {
    const KvLayerView& kv = tile.args.kv;
    const auto* offset = reinterpret_cast<const uint16_t*>(kv.k_offset_plane(page, tile.args.kv_head));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) score[r] = V::set1(0.0f);
    for (int d = 0; d < kv.shape->head_dim; d += 16) {
      const V values = V::load_bf16(offset + d);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) score[r] = V::fma(V::load(tile.exact_q[r] + d), values, score[r]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) score[r] = V::set1(V::sum(score[r]));
  }

  template <int R>
  static void segment_scores(Tile& tile, const SegmentPages& pages) {
    const V lowest = V::set1(-__builtin_inff());
    for (int page = pages.first; page < pages.end; ++page) {
      const int64_t begin = pages.position(page);
      const PageId id = tile.args.page_table[begin / kPageTokens];
      V offset[R];
      offset_scores(tile, id, offset);
      V score[R];
      page_scores(tile, id, score);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        V value = V::fma(score[r], V::set1(tile.q_step[r]), offset[r]);
        value = AttentionScores<V>::finish(tile.args, value);
        if (!pages.is_common(page)) {
          const PageSlots slots = slots_of(tile.rows[r], begin);
          value = V::keep(value, slots.begin, slots.end, lowest);
        }
        value.store(tile.weights[r] + page * kPageTokens);
      }
    }
  }

  // ---- values ----

  // The V scales of a page for a row, zero for tokens that it does not attend to: those may be anything.
  static V value_scales(const Tile& tile, int row, const SegmentPages& pages, int page, V scales) {
    if (pages.is_common(page)) return scales;
    const PageSlots slots = slots_of(tile.rows[row], pages.position(page));
    return V::keep(scales, slots.begin, slots.end, V::set1(0.0f));
  }
  static const uint16_t* scales_of(const Tile& tile, int64_t page_begin) {
    const PageId id = tile.args.page_table[page_begin / kPageTokens];
    return reinterpret_cast<const uint16_t*>(tile.args.kv.v_scale_plane(id, tile.args.kv_head));
  }

  // The step of each row's weights for a group of dims: of weights times V's scales.
  template <int R>
  static void find_value_steps(Tile& tile, const SegmentPages& pages, int group) {
    V greatest[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) greatest[r] = V::set1(0.0f);
    for (int page = pages.first; page < pages.end; ++page) {
      const V scales = V::load_bf16(scales_of(tile, pages.position(page)) + group * kPageTokens);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
        greatest[r] =
            V::max(V::load(tile.weights[r] + page * kPageTokens) * value_scales(tile, r, pages, page, scales),
                   greatest[r]);
    }
    for (int r = 0; r < R; ++r) {
      tile.value_step[group][r] = step_for(V::max_lane(greatest[r]));
      tile.value_steps_per_unit[group][r] = steps_per_unit(tile.value_step[group][r]);
    }
  }

  // The weights of a group of dims in those steps. All pages' come before the first of them is used: a
  // processor is slow to load parts of what it has just stored.
  template <int R>
  static void store_levels(Tile& tile, const SegmentPages& pages, int group) {
    for (int page = pages.first; page < pages.end; ++page) {
      const V scales = V::load_bf16(scales_of(tile, pages.position(page)) + group * kPageTokens);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const V per_unit = V::set1(tile.value_steps_per_unit[group][r]);
        store_steps(V::load(tile.weights[r] + page * kPageTokens),
                    value_scales(tile, r, pages, page, scales) * per_unit,
                    tile.levels[group][r] + page * kPageTokens);
      }
    }
  }

  // Adds a page's values of B blocks of 16 dims, all of one group.
  template <int R, int B>
  static void add_values(Tile& tile, const int8_t* v, int page, int first_block) {
    const auto& levels = tile.levels[first_block / kGroupBlocks];
    I sum[B][R];
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sum[b][r] = I::load(tile.sums[r] + 16 * (first_block + b));
    for (int slot = 0; slot < kPageTokens; slot += 2)
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) {
        const auto pairs = I::load_pairs(v + ((first_block + b) * kPageTokens + slot) * 16);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
          sum[b][r] = I::dot(sum[b][r], pairs, levels[r] + page * kPageTokens + slot);
      }
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sum[b][r].store(tile.sums[r] + 16 * (first_block + b));
  }

  template <int R>
  static void segment_values(Tile& tile, const SegmentPages& pages, AttentionState* states) {
    const int num_blocks = (tile.args.kv.shape->head_dim + 15) / 16;
    const int num_groups = (num_blocks + kGroupBlocks - 1) / kGroupBlocks;
    for (int group = 0; group < num_groups; ++group) {
      find_value_steps<R>(tile, pages, group);
      store_levels<R>(tile, pages, group);
    }
    for (int r = 0; r < R; ++r)
      for (int block = 0; block < num_blocks; ++block) I::zero().store(tile.sums[r] + 16 * block);
    for (int page = pages.first; page < pages.end; ++page) {
      const PageId id = tile.args.page_table[pages.position(page) / kPageTokens];
      const auto* v = reinterpret_cast<const int8_t*>(tile.args.kv.v_plane(id, tile.args.kv_head));
      int block = 0;
      for (; block + I::kChains <= num_blocks; block += I::kChains)
        add_values<R, I::kChains>(tile, v, page, block);
      for (; block < num_blocks; ++block) add_values<R, 1>(tile, v, page, block);
    }
    for (int r = 0; r < R; ++r)
      for (int block = 0; block < num_blocks; ++block)
        (I::to_float(I::load(tile.sums[r] + 16 * block)) * V::set1(tile.value_step[block / kGroupBlocks][r]))
            .store(states[r].out + 16 * block);
  }

  // ---- segments ----

  // Fills states[r] for the rows that attend to something in the segment; the others get sum = kEmpty.
  template <int R>
  static void segment_of(Tile& tile, int64_t segment, AttentionState* states) {
    const SegmentPages pages = enter_segment(tile.rows, R, segment);
    segment_scores<R>(tile, pages);
    for (int r = 0; r < R; ++r) {
      AttentionScores<V>::exponentiate(tile.weights[r], pages, states[r].max, states[r].sum,
                                       [&](int page, V weights) {
                                         weights.store(tile.weights[r] + page * kPageTokens);
                                         return weights;
                                       });
      if (tile.rows[r].here.length() <= 0) states[r].sum = AttentionState::kEmpty;
    }
    segment_values<R>(tile, pages, states);
  }

  template <int R = 1>
  static void run_segment(Tile& tile, int64_t segment, AttentionState* states) {
    if constexpr (R < kMaxRows)
      if (tile.num_rows != R) return run_segment<R + 1>(tile, segment, states);
    segment_of<R>(tile, segment, states);
  }
};

}  // namespace pagoda
