// One segment of attention for a tile of rows, over a 16-lane vector type V and a policy Pairs that
// multiplies (attention_pairs.h); see kernels/ops.h for the arithmetic.
//
// Rows are (query token, query head) pairs of one KV head. A tile of up to V::kRowTile rows walks the pages
// of the segment twice: first all scores (lane = cached token), then, with the weights, all outputs (lane =
// dim). Each pass reads the planes as they lie, one page after the other: pages or blocks of dims taken side
// by side would give more independent chains, but the processor's prefetcher then loses the stream, which
// costs decode half of its speed.
#pragma once

#include <cstdint>

#include "kernels/isa/attention_rows.h"
#include "kernels/ops.h"

namespace pagoda {

template <class V, class Pairs>
struct AttentionTile {
  using Element = typename Pairs::Element;
  using Operand = typename Pairs::Operand;
  static constexpr int kMaxRows = V::kRowTile;

  struct Tile {
    const AttentionArgs& args;
    int num_rows = 0;
    AttentionRow rows[kMaxRows];
    // Padded, so that the rows' lines do not fall into the same sets of the cache.
    alignas(64) Operand q[kMaxRows][kMaxHeadDim + 32];
    alignas(64) float scores[kMaxRows][kSegmentTokens + 16];
    alignas(64) Operand weights[kMaxRows][kSegmentTokens + 32];

    explicit Tile(const AttentionArgs& a) : args(a) {}
  };

  static void store_query(Tile& tile, int row, const float* q) {
    const int head_dim = tile.args.kv.shape->head_dim;
    Operand* out = tile.q[row];
    int d = 0;
    for (; d + 16 <= head_dim; d += 16) Pairs::store_operands(V::load(q + d), out + d);
    if (d < head_dim) Pairs::store_operands(V::load_n(q + d, head_dim - d), out + d);
  }

  // Starts loading what lies further on than 16 pairs. Neighbouring pages are one run of bytes, first all K
  // of a cluster, then all V, so that mostly this is what comes next.
  [[gnu::always_inline]] static void prefetch_pairs(const Element* pairs, int64_t ahead) {
    if (ahead == 0) return;
    const auto* bytes = reinterpret_cast<const std::byte*>(pairs) + ahead;
    for (size_t line = 0; line < 32 * sizeof(Element); line += 64) __builtin_prefetch(bytes + line);
  }

  // ---- scores ----

  template <int R>
  static void page_scores(const Tile& tile, const Element* k, V (&score)[R]) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) score[r] = V::set1(0.0f);
    const int num_dims = tile.args.kv.shape->head_dim;
    for (int d = 0; d < num_dims; d += 2) {
      prefetch_pairs(k + d * kPageTokens, tile.args.prefetch_bytes);
      const Pairs pairs = Pairs::load(k + d * kPageTokens);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) score[r] = Pairs::multiply_add(&tile.q[r][d], pairs, score[r]);
    }
  }

  template <int R>
  static void segment_scores(Tile& tile, const SegmentPages& pages) {
    const V lowest = V::set1(-__builtin_inff());
    for (int page = pages.first; page < pages.end; ++page) {
      const int64_t begin = pages.position(page);
      const PageId id = tile.args.page_table[begin / kPageTokens];
      V score[R];
      page_scores(tile, reinterpret_cast<const Element*>(tile.args.kv.k_plane(id, tile.args.kv_head)), score);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        V value = AttentionScores<V>::finish(tile.args, score[r]);
        if (!pages.is_common(page)) {
          const PageSlots slots = slots_of(tile.rows[r], begin);
          value = V::keep(value, slots.begin, slots.end, lowest);
        }
        value.store(tile.scores[r] + page * kPageTokens);
      }
    }
  }

  // ---- values ----

  static V store_weights(Tile& tile, int row, int page, V weights) {
    return Pairs::store_operands(weights, tile.weights[row] + page * kPageTokens);
  }

  // Slots [begin, end) of a page, both even, to which all rows attend.
  template <int R>
  static void common_values(const Tile& tile, const Element* v, int page, int begin, int end, int num_blocks,
                            AttentionState* states) {
    for (int block = 0; block < num_blocks; ++block, v += 16 * kPageTokens) {
      V acc[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r] = V::load(states[r].out + 16 * block);
      for (int slot = begin; slot < end; slot += 2) {
        prefetch_pairs(v + slot * 16, tile.args.prefetch_bytes);
        const Pairs pairs = Pairs::load(v + slot * 16);
        const int token = page * kPageTokens + slot;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) acc[r] = Pairs::multiply_add(&tile.weights[r][token], pairs, acc[r]);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r].store(states[r].out + 16 * block);
    }
  }

  // Slots [begin, end) of a page for one row, pairs of which both slots are wanted as pairs; weights: those
  // of the page.
  static void row_values(const Element* v, const Operand* weights, int begin, int end, int num_blocks,
                         float* out) {
    if (begin >= end) return;
    for (int block = 0; block < num_blocks; ++block, v += 16 * kPageTokens) {
      V acc = V::load(out + 16 * block);
      for (int slot = begin / 2 * 2; slot < end; slot += 2) {
        const Pairs pairs = Pairs::load(v + slot * 16);
        if (slot < begin)
          acc = Pairs::multiply_add_odd(weights[slot + 1], pairs, acc);
        else if (slot + 1 == end)
          acc = Pairs::multiply_add_even(weights[slot], pairs, acc);
        else
          acc = Pairs::multiply_add(weights + slot, pairs, acc);
      }
      acc.store(out + 16 * block);
    }
  }

  // Slots of a page that each row attends to, and those of all rows, from an even slot to an even slot.
  template <int R>
  struct TileSlots {
    PageSlots rows[R];
    int common_begin = 0;
    int common_end = kPageTokens;

    TileSlots(const Tile& tile, int64_t page_begin) {
      for (int r = 0; r < R; ++r) {
        rows[r] = slots_of(tile.rows[r], page_begin);
        common_begin = rows[r].begin > common_begin ? rows[r].begin : common_begin;
        common_end = rows[r].end < common_end ? rows[r].end : common_end;
      }
      common_begin = (common_begin + 1) / 2 * 2;
      common_end = common_end / 2 * 2;
    }
  };

  // A slot that a row does not attend to may hold anything, even NaN, and must not touch its outputs. Where
  // the edge of the causal mask or of the window cuts the page, the rows differ in a few slots; those are
  // taken row by row, in order:
  //   row 0   [----|=======|--)
  //   row 1     [--|=======|----)       |==|: common
  template <int R>
  static void edge_page_values(const Tile& tile, const Element* v, int page, int64_t page_begin,
                               int num_blocks, AttentionState* states) {
    const TileSlots<R> slots(tile, page_begin);
    const bool common = slots.common_begin < slots.common_end;
    for (int r = 0; r < R; ++r)
      row_values(v, tile.weights[r] + page * kPageTokens, slots.rows[r].begin,
                 common ? slots.common_begin : slots.rows[r].end, num_blocks, states[r].out);
    if (!common) return;
    common_values<R>(tile, v, page, slots.common_begin, slots.common_end, num_blocks, states);
    for (int r = 0; r < R; ++r)
      row_values(v, tile.weights[r] + page * kPageTokens, slots.common_end, slots.rows[r].end, num_blocks,
                 states[r].out);
  }

  template <int R>
  static void segment_values(const Tile& tile, const SegmentPages& pages, AttentionState* states) {
    const int num_blocks = (tile.args.kv.shape->head_dim + 15) / 16;
    for (int r = 0; r < R; ++r)
      for (int block = 0; block < num_blocks; ++block) V::set1(0.0f).store(states[r].out + 16 * block);
    for (int page = pages.first; page < pages.end; ++page) {
      const int64_t begin = pages.position(page);
      const PageId id = tile.args.page_table[begin / kPageTokens];
      const auto* v = reinterpret_cast<const Element*>(tile.args.kv.v_plane(id, tile.args.kv_head));
      if (pages.is_common(page))
        common_values<R>(tile, v, page, 0, kPageTokens, num_blocks, states);
      else
        edge_page_values<R>(tile, v, page, begin, num_blocks, states);
    }
  }
};

}  // namespace pagoda
