// One segment of attention for a tile of rows, over a 16-lane vector type V and a policy Pairs that
// multiplies (attention_pairs.h); see kernels/ops.h for the arithmetic.
//
// Rows are (query token, query head) pairs of one KV head. A tile of up to V::kRowTile rows walks the pages
// of the segment twice: first all scores (lane = cached token), then, with the weights, all outputs (lane =
// dim). For few query tokens each pass reads the planes as they lie, one page after the other, since the
// processor's prefetcher loses the stream at anything else, which costs decode half of its speed. Planes that
// are read later may be asked for on the way (AttentionArgs::prefetch).
// For many query tokens planes come from a cache, and V::kSideBySide pages, or blocks of dims, are taken side
// by side: more independent chains, and an operand is loaded once for all of them.
#pragma once

#include <cstdint>

#include "kernels/isa/attention_rows.h"
#include "kernels/isa/prefetch_lines.h"
#include "kernels/ops.h"

namespace pagoda {

template <class V, class Pairs>
struct AttentionTile {
  using Element = typename Pairs::Element;
  using Operand = typename Pairs::Operand;
  static constexpr int kMaxRows = V::kRowTile;

  struct Tile {
    const AttentionArgs& args;
    const KvPlanes k_planes;
    const KvPlanes v_planes;
    const KvPlanes next_k_planes;  // of the next segment's KV head
    const int next_segments_on;    // NextSegment::segments_on
    int planes_ahead = 0;          // how many planes later the one is read that is asked for; 0: none
    int num_rows = 0;
    AttentionRow rows[kMaxRows];
    GreatestScores<V, kMaxRows> greatest;
    // Padded, so that the rows' lines do not fall into the same sets of the cache.
    alignas(64) Operand q[kMaxRows][kMaxHeadDim + 32];
    alignas(64) float scores[kMaxRows][kSegmentTokens + 16];
    alignas(64) Operand weights[kMaxRows][kSegmentTokens + 32];

    Tile(const AttentionArgs& a, NextSegment next)
        : args(a),
          k_planes(a.kv.k_planes(a.kv_head)),
          v_planes(a.kv.v_planes(a.kv_head)),
          next_k_planes(a.kv.k_planes(next.kv_head)),
          next_segments_on(next.segments_on) {
      if (a.prefetch.kv_bytes == 0) return;
      const auto planes = a.prefetch.kv_bytes / static_cast<int64_t>(k_planes.plane_bytes);
      planes_ahead = planes > 1 ? static_cast<int>(planes) : 1;
    }
    // index: of the page table.
    const Element* plane(const KvPlanes& planes, int64_t index) const {
      return reinterpret_cast<const Element*>(planes.at(args.page_table[index]));
    }
    const Element* k_plane(int64_t index) const { return plane(k_planes, index); }
    const Element* v_plane(int64_t index) const { return plane(v_planes, index); }
  };

  // How planes are read: kSide pages, or blocks of dims, side by side; kAhead: while later planes are asked
  // for.
  template <int kSideBySide, bool kAsksAhead>
  struct ReadMode {
    static constexpr int kSide = kSideBySide;
    static constexpr bool kAhead = kAsksAhead;
  };
  // Calls f with a tile's.
  template <class F>
  static void with_mode(const Tile& tile, F&& f) {
    if (tile.planes_ahead > 0)
      f(ReadMode<1, true>());
    else if (tile.args.num_tokens > kFewQueryTokens)
      f(ReadMode<V::kSideBySide, false>());
    else
      f(ReadMode<1, false>());
  }

  static void store_query(Tile& tile, int row, const float* q) {
    const int head_dim = tile.args.kv.shape->head_dim;
    Operand* out = tile.q[row];
    int d = 0;
    for (; d + 16 <= head_dim; d += 16) Pairs::store_operands(V::load(q + d), out + d);
    if (d < head_dim) Pairs::store_operands(V::load_n(q + d, head_dim - d), out + d);
  }

  // The plane that is read planes_ahead after the segment's n-th; they are K of its pages, V of its pages, K
  // of the next segment's. By the page table, since a sequence's pages may be scattered. Where none is left,
  // the segment's first.
  static const Element* plane_after(const Tile& tile, const SegmentPages& pages, int n) {
    const int num_pages = pages.end - pages.first;
    const int64_t first = pages.table_index(pages.first);
    n += tile.planes_ahead;
    if (n < num_pages) return tile.k_plane(first + n);
    if (n < 2 * num_pages) return tile.v_plane(first + n - num_pages);
    n -= 2 * num_pages;
    const int64_t index = first + tile.next_segments_on * num_pages + n;
    return tile.plane(tile.next_k_planes, index < num_table_pages(tile.args) ? index : first);
  }
  // Starts loading 16 pairs.
  [[gnu::always_inline]] static void prefetch_pairs(const Tile& tile, const Element* pairs) {
    prefetch_lines<32 * sizeof(Element)>(pairs, tile.args.prefetch.level);
  }

  // ---- scores ----

  // Of kPages pages side by side.
  template <int R, int kPages, bool kAhead>
  static void page_scores(Tile& tile, const SegmentPages& pages, int first_page) {
    const Element* k[kPages];
    V score[kPages][R];
#pragma GCC unroll 2
    for (int p = 0; p < kPages; ++p) {
      k[p] = tile.k_plane(pages.table_index(first_page + p));
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) score[p][r] = V::set1(0.0f);
    }
    const Element* later = kAhead ? plane_after(tile, pages, first_page - pages.first) : nullptr;
    const int num_dims = tile.args.kv.shape->head_dim;
    for (int d = 0; d < num_dims; d += 2) {
      if constexpr (kAhead) prefetch_pairs(tile, later + d * kPageTokens);
#pragma GCC unroll 2
      for (int p = 0; p < kPages; ++p) {
        const Pairs pairs = Pairs::load(k[p] + d * kPageTokens);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) score[p][r] = Pairs::multiply_add(&tile.q[r][d], pairs, score[p][r]);
      }
    }
#pragma GCC unroll 2
    for (int p = 0; p < kPages; ++p) store_scores(tile, pages, first_page + p, score[p]);
  }

  // Inlined, or else the sums would be kept in memory.
  template <int R>
  [[gnu::always_inline]] static void store_scores(Tile& tile, const SegmentPages& pages, int page,
                                                  const V (&score)[R]) {
    const V lowest = V::set1(-__builtin_inff());
    const ScoreFinish<V> finish(tile.args);
    const bool is_common = pages.is_common(page);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      V value = finish(score[r]);
      if (!is_common) {
        const PageSlots slots = slots_of(tile.rows[r], pages.position(page));
        value = V::keep(value, slots.begin, slots.end, lowest);
      }
      value.store(tile.scores[r] + page * kPageTokens);
      tile.greatest.add(r, value);
    }
  }

  template <int R>
  static void segment_scores(Tile& tile, const SegmentPages& pages) {
    tile.greatest.reset();
    with_mode(tile, [&]<class Mode>(Mode) {
      int page = pages.first;
      for (; page + Mode::kSide <= pages.end; page += Mode::kSide)
        page_scores<R, Mode::kSide, Mode::kAhead>(tile, pages, page);
      for (; page < pages.end; ++page) page_scores<R, 1, Mode::kAhead>(tile, pages, page);
    });
  }

  // ---- values ----

  // The weights of a page's tokens, added to each row's sum.
  template <int R>
  [[gnu::always_inline]] static void page_weights(Tile& tile, int page, const AttentionState* states,
                                                  V (&sums)[R]) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const V weights = weights_of<V>(tile.scores[r], page, states[r].max);
      sums[r] = sums[r] + Pairs::store_weights(weights, tile.weights[r] + page * kPageTokens);
    }
  }

  // V of a page of the segment, and the plane that is asked for while it is read.
  struct ValuePlane {
    int page;
    const Element* v;
    const Element* later;
  };

  // kBlocks blocks of dims side by side, from `block` on.
  template <int R, int kBlocks, bool kAhead>
  [[gnu::always_inline]] static void block_values(const Tile& tile, const ValuePlane& plane, int begin,
                                                  int end, int block, AttentionState* states) {
    const int block_begin = block * 16 * kPageTokens;
    const Element* v = plane.v + block_begin;
    V acc[kBlocks][R];
#pragma GCC unroll 2
    for (int b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[b][r] = V::load(states[r].out + 16 * (block + b));
    }
    for (int slot = begin; slot < end; slot += 2) {
      if constexpr (kAhead) prefetch_pairs(tile, plane.later + block_begin + slot * 16);
      const int token = plane.page * kPageTokens + slot;
      Pairs pairs[kBlocks];
#pragma GCC unroll 2
      for (int b = 0; b < kBlocks; ++b) pairs[b] = Pairs::load(v + (b * kPageTokens + slot) * 16);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (int b = 0; b < kBlocks; ++b)
          acc[b][r] = Pairs::multiply_add(&tile.weights[r][token], pairs[b], acc[b][r]);
      }
    }
#pragma GCC unroll 2
    for (int b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[b][r].store(states[r].out + 16 * (block + b));
    }
  }

  // Slots [begin, end) of a page, both even, to which all rows attend.
  template <int R, class Mode>
  [[gnu::always_inline]] static void common_values(const Tile& tile, const ValuePlane& plane, int begin,
                                                   int end, int num_blocks, AttentionState* states) {
    int block = 0;
    for (; block + Mode::kSide <= num_blocks; block += Mode::kSide)
      block_values<R, Mode::kSide, Mode::kAhead>(tile, plane, begin, end, block, states);
    for (; block < num_blocks; ++block)
      block_values<R, 1, Mode::kAhead>(tile, plane, begin, end, block, states);
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
  template <int R, class Mode>
  static void edge_page_values(const Tile& tile, const ValuePlane& plane, int64_t page_begin, int num_blocks,
                               AttentionState* states) {
    const TileSlots<R> slots(tile, page_begin);
    const bool common = slots.common_begin < slots.common_end;
    for (int r = 0; r < R; ++r)
      row_values(plane.v, tile.weights[r] + plane.page * kPageTokens, slots.rows[r].begin,
                 common ? slots.common_begin : slots.rows[r].end, num_blocks, states[r].out);
    if (!common) return;
    common_values<R, Mode>(tile, plane, slots.common_begin, slots.common_end, num_blocks, states);
    for (int r = 0; r < R; ++r)
      row_values(plane.v, tile.weights[r] + plane.page * kPageTokens, slots.common_end, slots.rows[r].end,
                 num_blocks, states[r].out);
  }

  // Weights are computed while values are read, so that memory is busy meanwhile, and a page early, since a
  // processor is slow to load parts of what it has just stored.
  template <int R, class Mode>
  static void add_values(Tile& tile, const SegmentPages& pages, int num_blocks, AttentionState* states,
                         V (&sums)[R]) {
    page_weights(tile, pages.first, states, sums);
    for (int page = pages.first; page < pages.end; ++page) {
      if (page + 1 < pages.end) page_weights(tile, page + 1, states, sums);
      ValuePlane plane = {page, tile.v_plane(pages.table_index(page)), nullptr};
      if constexpr (Mode::kAhead)
        plane.later = plane_after(tile, pages, pages.end - pages.first + page - pages.first);
      if (pages.is_common(page))
        common_values<R, Mode>(tile, plane, 0, kPageTokens, num_blocks, states);
      else
        edge_page_values<R, Mode>(tile, plane, pages.position(page), num_blocks, states);
    }
  }

  template <int R>
  static void segment_values(Tile& tile, const SegmentPages& pages, AttentionState* states) {
    const int num_blocks = (tile.args.kv.shape->head_dim + 15) / 16;
    V sums[R];
    for (int r = 0; r < R; ++r) {
      sums[r] = V::set1(0.0f);
      for (int block = 0; block < num_blocks; ++block) sums[r].store(states[r].out + 16 * block);
    }
    with_mode(tile, [&]<class Mode>(Mode) { add_values<R, Mode>(tile, pages, num_blocks, states, sums); });
    for (int r = 0; r < R; ++r) states[r].sum = V::sum(sums[r]);
  }
};

}  // namespace pagoda
