// One segment of attention over int8 pages for a tile of rows, over a 16-lane vector type V and the integer
// vectors I that go with it; see kernels/ops.h for the arithmetic. Like AttentionTile it walks the pages
// twice and reads each plane as it lies.
#pragma once

#include <cstdint>

#include "kernels/isa/attention_rows.h"
#include "kernels/isa/kv_transform.h"
#include "kernels/isa/ops_math.h"
#include "kernels/ops.h"

namespace pagoda {

template <class V, class I>
struct Int8AttentionTile {
  static constexpr int kMaxRows = V::kRowTile;
  static constexpr int kGroupBlocks = kKvGroupDims / 16;
  static constexpr int kBlockBytes = 16 * kPageTokens;
  static constexpr int kSegmentPages = kSegmentTokens / kPageTokens;
  static_assert(kGroupBlocks % I::kSideBySide == 0);

  // Of a page.
  struct Planes {
    const int8_t* k;
    const uint16_t* k_scales;
    const uint16_t* k_offset;
    const int8_t* v;
    const uint16_t* v_scales;
  };

  // Where those of a KV head are.
  struct HeadPlanes {
    KvPlanes k;
    KvPlanes k_offset;
    KvPlanes v;
    KvPlanes v_scales;

    HeadPlanes(const KvLayerView& kv, int kv_head)
        : k(kv.k_planes(kv_head)),
          k_offset(kv.k_offset_planes(kv_head)),
          v(kv.v_planes(kv_head)),
          v_scales(kv.v_scale_planes(kv_head)) {}
  };

  struct Tile {
    const AttentionArgs& args;
    const HeadPlanes head_planes;
    const HeadPlanes next_head_planes;  // of the next segment's KV head
    const int next_segments_on;         // NextSegment::segments_on
    int num_rows = 0;
    AttentionRow rows[kMaxRows];
    GreatestScores<V, kMaxRows> greatest;
    float q_step[kMaxRows];
    float value_step[kMaxRows];                     // of weights times V's scales, of one group of dims
    Planes planes[kSegmentPages + I::kSideBySide];  // the last ones again, to be asked for ahead
    Planes later[kSegmentPages];                    // of the next segment; where there is none, the same
    // Padded, so that the rows' lines do not fall into the same sets of the cache.
    alignas(64) float exact_q[kMaxRows][kMaxHeadDim + 16];
    alignas(64) int16_t q[kMaxRows][kMaxHeadDim + 32];
    alignas(64) float scores[kMaxRows][kSegmentTokens + 16];    // then weights
    alignas(64) int16_t levels[kMaxRows][kSegmentTokens + 32];  // those times V's scales, in steps

    Tile(const AttentionArgs& a, NextSegment next)
        : args(a),
          head_planes(a.kv, a.kv_head),
          next_head_planes(a.kv, next.kv_head),
          next_segments_on(next.segments_on) {}
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
    const auto load = [&](int d) {
      return d + 16 <= head_dim ? V::load(q + d)
             : d < head_dim     ? V::load_n(q + d, head_dim - d)
                                : V::set1(0.0f);
    };
    V greatest = V::set1(0.0f);
    V check = V::set1(0.0f);  // NaN once a value is not finite
    for (int begin = 0; begin < head_dim; begin += kKvGroupDims) {
      const int num_dims = begin + kKvGroupDims < head_dim ? kKvGroupDims : head_dim - begin;
      V group[2] = {load(begin), load(begin + 16)};
      KvTransform<V>::apply(group[0], group[1], num_dims);
      const V scale = V::set1(KvTransform<V>::query_scale(num_dims));
      for (int i = 0; i < 2; ++i) {
        const V values = group[i] * scale;
        greatest = V::max(V::abs(values), greatest);
        check = V::fma(values, V::set1(0.0f), check);
        values.store(tile.exact_q[row] + begin + 16 * i);
      }
    }
    const float step = step_for(V::max_lane(greatest));
    const V per_unit = V::set1(steps_per_unit(step));
    for (int d = 0; d < head_dim; d += 16)
      store_steps(V::load(tile.exact_q[row] + d), per_unit, tile.q[row] + d);
    tile.q_step[row] = step + V::sum(check);
  }

  // ---- planes ----

  // index: of the page table.
  static Planes planes_of(const Tile& tile, const HeadPlanes& head, int64_t index) {
    const PageId page = tile.args.page_table[index];
    const auto* k = reinterpret_cast<const int8_t*>(head.k.at(page));
    return {.k = k,
            .k_scales = reinterpret_cast<const uint16_t*>(k + tile.args.kv.shape->head_dim * kPageTokens),
            .k_offset = reinterpret_cast<const uint16_t*>(head.k_offset.at(page)),
            .v = reinterpret_cast<const int8_t*>(head.v.at(page)),
            .v_scales = reinterpret_cast<const uint16_t*>(head.v_scales.at(page))};
  }
  static void find_planes(Tile& tile, const SegmentPages& pages) {
    const int64_t num_pages = num_table_pages(tile.args);
    for (int page = pages.first; page < pages.end; ++page) {
      const int64_t index = pages.table_index(page);
      tile.planes[page] = planes_of(tile, tile.head_planes, index);
      const int64_t later = index + tile.next_segments_on * kSegmentPages;
      tile.later[page] =
          later < num_pages ? planes_of(tile, tile.next_head_planes, later) : tile.planes[page];
    }
    for (int i = 0; i < I::kSideBySide; ++i) tile.planes[pages.end + i] = tile.planes[pages.end - 1];
  }

  // ---- scores ----

  // While K is read, V of the same pages comes to the cache, and the pages' K that are next: dims [begin,
  // end). Always inlined: GCC drops calls of what does nothing but prefetch.
  [[gnu::always_inline]] static void prefetch_for_scores(const Planes* planes, int begin, int end) {
    prefetch_bytes(planes->v + begin * kPageTokens, (end - begin) * kPageTokens);
    prefetch_bytes(planes->v_scales + begin / kKvGroupDims * kPageTokens, 1);
    const Planes& next = planes[I::kSideBySide];
    prefetch_bytes(next.k + begin * kPageTokens, (end - begin) * kPageTokens);
    prefetch_bytes(next.k_offset + begin, 1);
  }

  // Adds to each row's score of P pages q * (k - offset), in q's steps. A pair of q meets the pages side by
  // side, so that there are products to do while others are under way.
  template <int R, int P>
  static void add_scores(const Tile& tile, const Planes* planes, V (&score)[P][R]) {
    const int head_dim = tile.args.kv.shape->head_dim;
    for (int begin = 0; begin < head_dim; begin += kKvGroupDims) {
      const int end = begin + kKvGroupDims < head_dim ? begin + kKvGroupDims : head_dim;
      I sum[P][R];
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sum[p][r] = I::zero();
      for (int p = 0; p < P; ++p) prefetch_for_scores(planes + p, begin, end);
      for (int d = begin; d < end; d += 2) {
        typename I::Pairs pairs[P];
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) pairs[p] = I::load_pairs(planes[p].k + d * kPageTokens);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const auto factors = I::load_factors(tile.q[r] + d);
#pragma GCC unroll 2
          for (int p = 0; p < P; ++p) sum[p][r] = I::dot(sum[p][r], pairs[p], factors);
        }
      }
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) {
        const V scale = V::load_bf16(planes[p].k_scales + begin / kKvGroupDims * kPageTokens);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) score[p][r] = V::fma(I::to_float(sum[p][r]), scale, score[p][r]);
      }
    }
  }

  // q * offset: what all tokens of the page have in common.
  template <int R>
  static void offset_scores(const Tile& tile, const uint16_t* offset, V (&score)[R]) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) score[r] = V::set1(0.0f);
    for (int d = 0; d < tile.args.kv.shape->head_dim; d += 16) {
      const V values = V::load_bf16(offset + d);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) score[r] = V::fma(V::load(tile.exact_q[r] + d), values, score[r]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) score[r] = V::set1(V::sum(score[r]));
  }

  template <int R, int P>
  static void page_scores(Tile& tile, const SegmentPages& pages, int page) {
    const V lowest = V::set1(-__builtin_inff());
    const ScoreFinish<V> finish(tile.args);
    const Planes* planes = tile.planes + page;
    V score[P][R];
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) score[p][r] = V::set1(0.0f);
    add_scores(tile, planes, score);
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      V offset[R];
      offset_scores(tile, planes[p].k_offset, offset);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        V value = V::fma(score[p][r], V::set1(tile.q_step[r]), offset[r]);
        value = finish(value);
        if (!pages.is_common(page + p)) {
          const PageSlots slots = slots_of(tile.rows[r], pages.position(page + p));
          value = V::keep(value, slots.begin, slots.end, lowest);
        }
        value.store(tile.scores[r] + (page + p) * kPageTokens);
        tile.greatest.add(r, value);
      }
    }
  }

  template <int R>
  static void segment_scores(Tile& tile, const SegmentPages& pages) {
    find_planes(tile, pages);
    tile.greatest.reset();
    int page = pages.first;
    for (; page + I::kSideBySide <= pages.end; page += I::kSideBySide)
      page_scores<R, I::kSideBySide>(tile, pages, page);
    for (; page < pages.end; ++page) page_scores<R, 1>(tile, pages, page);
  }

  // ---- values ----

  // Scores become weights.
  template <int R>
  static void find_weights(Tile& tile, const SegmentPages& pages, AttentionState* states) {
    for (int r = 0; r < R; ++r) {
      V total = V::set1(0.0f);
      for (int page = pages.first; page < pages.end; ++page) {
        const V weights = weights_of<V>(tile.scores[r], page, states[r].max);
        weights.store(tile.scores[r] + page * kPageTokens);
        total = total + weights;
      }
      states[r].sum = V::sum(total);
    }
  }

  // The V scales of a page for a row, zero for tokens that it does not attend to: those may be anything.
  static V value_scales(const Tile& tile, int row, const SegmentPages& pages, int page, V scales) {
    if (pages.is_common(page)) return scales;
    const PageSlots slots = slots_of(tile.rows[row], pages.position(page));
    return V::keep(scales, slots.begin, slots.end, V::set1(0.0f));
  }

  // The steps of the rows' weights for a group of dims: of weights times V's scales.
  template <int R>
  static void find_value_steps(Tile& tile, const SegmentPages& pages, int group) {
    V greatest[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) greatest[r] = V::set1(0.0f);
    for (int page = pages.first; page < pages.end; ++page) {
      const V scales = V::load_bf16(tile.planes[page].v_scales + group * kPageTokens);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
        greatest[r] =
            V::max(V::load(tile.scores[r] + page * kPageTokens) * value_scales(tile, r, pages, page, scales),
                   greatest[r]);
    }
    for (int r = 0; r < R; ++r) tile.value_step[r] = step_for(V::max_lane(greatest[r]));
  }

  // The weights of a group of dims in those steps. All pages' come before the first of them is used: a
  // processor is slow to load parts of what it has just stored.
  template <int R>
  static void store_levels(Tile& tile, const SegmentPages& pages, int group) {
    V per_unit[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) per_unit[r] = V::set1(steps_per_unit(tile.value_step[r]));
    for (int page = pages.first; page < pages.end; ++page) {
      const V scales = V::load_bf16(tile.planes[page].v_scales + group * kPageTokens);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
        store_steps(V::load(tile.scores[r] + page * kPageTokens),
                    value_scales(tile, r, pages, page, scales) * per_unit[r],
                    tile.levels[r] + page * kPageTokens);
    }
  }

  // The values of B blocks of 16 dims, of one group.
  template <int R, int B>
  static void sum_values(const Tile& tile, const SegmentPages& pages, int block, AttentionState* states) {
    I sum[B][R];
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sum[b][r] = I::zero();
    for (int page = pages.first; page < pages.end; ++page) {
      const int8_t* v = tile.planes[page].v + block * kBlockBytes;
      // K of the next segment: its way to the cache is as long as that of V while the scores were computed.
      prefetch_bytes(tile.later[page].k + block * kBlockBytes, B * kBlockBytes);
      prefetch_bytes(tile.later[page].k_offset + block * 16, 1);
      for (int slot = 0; slot < kPageTokens; slot += 2) {
        typename I::Pairs pairs[B];
#pragma GCC unroll 2
        for (int b = 0; b < B; ++b) pairs[b] = I::load_pairs(v + (b * kPageTokens + slot) * 16);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const auto factors = I::load_factors(tile.levels[r] + page * kPageTokens + slot);
#pragma GCC unroll 2
          for (int b = 0; b < B; ++b) sum[b][r] = I::dot(sum[b][r], pairs[b], factors);
        }
      }
    }
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
        (I::to_float(sum[b][r]) * V::set1(tile.value_step[r])).store(states[r].out + 16 * (block + b));
  }

  template <int R>
  static void segment_values(Tile& tile, const SegmentPages& pages, AttentionState* states) {
    const int num_blocks = (tile.args.kv.shape->head_dim + 15) / 16;
    find_weights<R>(tile, pages, states);
    for (int block = 0; block < num_blocks;) {
      find_value_steps<R>(tile, pages, block / kGroupBlocks);
      store_levels<R>(tile, pages, block / kGroupBlocks);
      const int end = block + kGroupBlocks < num_blocks ? block + kGroupBlocks : num_blocks;
      for (; block + I::kSideBySide <= end; block += I::kSideBySide)
        sum_values<R, I::kSideBySide>(tile, pages, block, states);
      for (; block < end; ++block) sum_values<R, 1>(tile, pages, block, states);
    }
  }
};

}  // namespace pagoda
