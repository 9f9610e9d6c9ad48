// Attention over pages, over a 16-lane vector type V: tiles of rows, and the merging of their segments. I:
// the integer vectors that go with V; Bf16: the policy that multiplies bf16 elements (attention_pairs.h).
#pragma once

#include <cstdint>

#include "kernels/isa/attention_int8_tile.h"
#include "kernels/isa/attention_pairs.h"
#include "kernels/isa/attention_tile.h"
#include "kernels/isa/flush_subnormals.h"
#include "kernels/isa/ops_math.h"
#include "kernels/ops.h"

namespace pagoda {

template <class V, class Tiles>
struct AttentionOver {
  using Tile = typename Tiles::Tile;
  using State = AttentionState;

  static int heads_per_group(const AttentionArgs& args) {
    return args.num_q_heads / args.kv.shape->num_kv_heads;
  }
  static PositionRange range_of(const AttentionArgs& args, int64_t token) {
    const int64_t position = args.first_position + token;
    const int64_t begin = args.window > 0 && position + 1 > args.window ? position + 1 - args.window : 0;
    return {begin, position + 1};
  }

  // A row of the KV head: `index` counts heads within tokens, from the first token on.
  struct RowPlace {
    int64_t token;
    int64_t head;

    RowPlace(const AttentionArgs& args, int64_t first_token, int64_t index)
        : token(first_token + index / heads_per_group(args)),
          head(int64_t{args.kv_head} * heads_per_group(args) + index % heads_per_group(args)) {}
    float* out(const AttentionArgs& args) const {
      return args.out + token * args.out_stride + head * args.kv.shape->head_dim;
    }
  };

  // The positions that the rows [first, first + num_rows) attend to; no row's range is far from another's.
  static PositionRange start_tile(Tile& tile, int64_t first_token, int64_t first, int64_t num_rows) {
    const AttentionArgs& args = tile.args;
    tile.num_rows = static_cast<int>(num_rows);
    PositionRange all = {INT64_MAX, 0};
    for (int r = 0; r < tile.num_rows; ++r) {
      const RowPlace place(args, first_token, first + r);
      const PositionRange range = range_of(args, place.token);
      const float* q = args.q + place.token * args.q_stride + place.head * args.kv.shape->head_dim;
      Tiles::store_query(tile, r, q);
      tile.rows[r].range = range;
      all = {range.begin < all.begin ? range.begin : all.begin, range.end > all.end ? range.end : all.end};
    }
    return all;
  }

  // Calls f(first, rows) for tiles of nearly equal height: 9 rows are 5 + 4, not 8 + 1.
  template <class F>
  static void for_tiles(int64_t num_rows, F&& f) {
    const int64_t num_tiles = (num_rows + Tiles::kMaxRows - 1) / Tiles::kMaxRows;
    for (int64_t tile = 0; tile < num_tiles; ++tile) {
      const int64_t first = num_rows * tile / num_tiles;
      f(first, num_rows * (tile + 1) / num_tiles - first);
    }
  }

  static float exp1(float x) {
    float lanes[16];
    Math<V>::exp(V::set1(x)).store(lanes);
    return lanes[0];
  }

  // (max, sum, out) merged with the next segment's.
  static void merge(float& max, float& sum, float* out, float next_max, float next_sum, const float* next_out,
                    int num_dims) {
    const float new_max = max > next_max ? max : next_max;
    const float old_factor = exp1(max - new_max);
    const float next_factor = exp1(next_max - new_max);
    max = new_max;
    sum = __builtin_fmaf(next_sum, next_factor, sum * old_factor);
    const V a = V::set1(old_factor);
    const V b = V::set1(next_factor);
    int d = 0;
    for (; d + 16 <= num_dims; d += 16) V::fma(V::load(next_out + d), b, V::load(out + d) * a).store(out + d);
    if (d < num_dims)
      V::fma(V::load_n(next_out + d, num_dims - d), b, V::load_n(out + d, num_dims - d) * a)
          .store_n(out + d, num_dims - d);
  }

  static void write_out(const float* total, float sum, int head_dim, float* out) {
    const V divisor = V::set1(sum);
    int d = 0;
    for (; d + 16 <= head_dim; d += 16) (V::load(total + d) / divisor).store(out + d);
    if (d < head_dim) (V::load_n(total + d, head_dim - d) / divisor).store_n(out + d, head_dim - d);
  }

  static void copy_state(const State& from, State& to, int head_dim) {
    to.max = from.max;
    to.sum = from.sum;
    for (int d = 0; d < head_dim; ++d) to.out[d] = from.out[d];
  }

  static void merge(const State& next, State& total, int head_dim) {
    if (next.sum == State::kEmpty) return;
    if (total.sum == State::kEmpty)
      copy_state(next, total, head_dim);
    else
      merge(total.max, total.sum, total.out, next.max, next.sum, next.out, head_dim);
  }

  // Fills states[r] for the rows that attend to something in the segment; the others get sum = kEmpty.
  template <int R>
  static void segment_of(Tile& tile, int64_t segment, State* states) {
    const SegmentPages pages = enter_segment(tile.rows, R, segment);
    Tiles::template segment_scores<R>(tile, pages);
    for (int r = 0; r < R; ++r) states[r].max = tile.greatest.of(r);
    Tiles::template segment_values<R>(tile, pages, states);
    for (int r = 0; r < R; ++r)
      if (tile.rows[r].here.length() <= 0) states[r].sum = State::kEmpty;
  }
  template <int R = 1>
  static void run_segment(Tile& tile, int64_t segment, State* states) {
    if constexpr (R < Tiles::kMaxRows)
      if (tile.num_rows != R) return run_segment<R + 1>(tile, segment, states);
    segment_of<R>(tile, segment, states);
  }

  static void attention(const AttentionArgs& args, int64_t token_begin, int64_t token_end) {
    const int head_dim = args.kv.shape->head_dim;
    Tile tile(args, NextSegment::of_head(args));
    State totals[Tiles::kMaxRows];
    State states[Tiles::kMaxRows];
    for_tiles((token_end - token_begin) * heads_per_group(args), [&](int64_t first, int64_t num_rows) {
      const PositionRange all = start_tile(tile, token_begin, first, num_rows);
      for (int r = 0; r < num_rows; ++r) totals[r].sum = State::kEmpty;
      for (int64_t segment = all.begin / kSegmentTokens; segment * kSegmentTokens < all.end; ++segment) {
        run_segment(tile, segment, states);
        for (int r = 0; r < num_rows; ++r) merge(states[r], totals[r], head_dim);
      }
      for (int r = 0; r < num_rows; ++r)
        write_out(totals[r].out, totals[r].sum, head_dim, RowPlace(args, token_begin, first + r).out(args));
    });
  }

  static void segment(const AttentionArgs& args, int64_t token, int64_t segment, float* partials) {
    const int head_dim = args.kv.shape->head_dim;
    Tile tile(args, NextSegment::of_heads(args));
    State states[Tiles::kMaxRows];
    for_tiles(heads_per_group(args), [&](int64_t first, int64_t num_rows) {
      start_tile(tile, token, first, num_rows);
      run_segment(tile, segment, states);
      for (int r = 0; r < num_rows; ++r) {
        float* partial = partials + (first + r) * (head_dim + 2);
        partial[0] = states[r].max;
        partial[1] = states[r].sum;
        for (int d = 0; d < head_dim; ++d) partial[2 + d] = states[r].out[d];
      }
    });
  }

  static void merge(const AttentionArgs& args, int64_t token, int64_t num_segments, const float* partials) {
    const int group = heads_per_group(args);
    const int head_dim = args.kv.shape->head_dim;
    const int64_t row_floats = head_dim + 2;
    State total;
    for (int row = 0; row < group; ++row) {
      const float* first = partials + row * row_floats;
      total.max = first[0];
      total.sum = first[1];
      for (int d = 0; d < head_dim; ++d) total.out[d] = first[2 + d];
      for (int64_t segment = 1; segment < num_segments; ++segment) {
        const float* next = first + segment * group * row_floats;
        merge(total.max, total.sum, total.out, next[0], next[1], next + 2, head_dim);
      }
      write_out(total.out, total.sum, head_dim, RowPlace(args, token, row).out(args));
    }
  }
};

template <class V, class I, class Bf16>
struct AttentionBody {
  // Calls f with the kernels for pages of this type.
  template <class F>
  static void with_tiles(KvType type, F&& f) {
    switch (type) {
      case KvType::f32:
        return f(AttentionOver<V, AttentionTile<V, F32Pairs<V>>>());
      case KvType::bf16:
        return f(AttentionOver<V, AttentionTile<V, Bf16>>());
      case KvType::int8:
        return f(AttentionOver<V, Int8AttentionTile<V, I>>());
    }
  }
  static void attention(const AttentionArgs& args, int64_t token_begin, int64_t token_end) noexcept {
    const FlushSubnormals flush;
    with_tiles(args.kv.shape->type, [&](auto over) { over.attention(args, token_begin, token_end); });
  }
  static void attention_segment(const AttentionArgs& args, int64_t token, int64_t segment,
                                float* partials) noexcept {
    const FlushSubnormals flush;
    with_tiles(args.kv.shape->type, [&](auto over) { over.segment(args, token, segment, partials); });
  }
  static void attention_merge(const AttentionArgs& args, int64_t token, int64_t num_segments,
                              const float* partials) noexcept {
    const FlushSubnormals flush;
    AttentionOver<V, AttentionTile<V, F32Pairs<V>>>::merge(args, token, num_segments, partials);
  }
};

}  // namespace pagoda
