// Attention over pages, over a 16-lane vector type V (see kernels/ops.h for the arithmetic).
//
// Rows are (query token, query head) pairs of one KV head. A tile of up to V::kRowTile rows walks the pages
// of a segment twice: first all scores (lane = cached token), then, with the weights, all outputs (lane =
// dim). A page's K and V are read once per tile, in the order in which they lie.
#pragma once

#include <cstdint>

#include "kernels/isa/ops_math.h"
#include "kernels/ops.h"

namespace pagoda {

template <class V>
struct AttentionBody {
  static constexpr int kMaxRows = V::kRowTile;
  static constexpr int kPages = static_cast<int>(kSegmentTokens / kPageTokens);

  // Cached positions [begin, end) that a row attends to.
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
  };
  static Range range_of(const AttentionArgs& args, int64_t token) {
    const int64_t position = args.first_position + token;
    const int64_t begin = args.window > 0 && position + 1 > args.window ? position + 1 - args.window : 0;
    return {begin, position + 1};
  }
  static Range intersect(Range a, int64_t begin, int64_t end) {
    return {a.begin > begin ? a.begin : begin, a.end < end ? a.end : end};
  }

  struct Row {
    const float* q;
    Range range;  // of the whole row
    Range here;   // its part in the current segment; empty if begin >= end
  };

  // What a segment leaves: running maximum, sum of weights, weighted sum of values.
  struct State {
    float max;
    float sum;
    float out[kMaxHeadDim];
  };

  struct Tile {
    const AttentionArgs& args;
    int num_rows = 0;
    Row rows[kMaxRows];
    alignas(64) float weights[kMaxRows][kSegmentTokens];

    explicit Tile(const AttentionArgs& a) : args(a) {}
  };

  static void load_pairs(const float* p, V& even, V& odd) { V::load_pairs(p, even, odd); }
  static void load_pairs(const uint16_t* p, V& even, V& odd) { V::load_pairs_bf16(p, even, odd); }

  // ---- scores
  // -----------------------------------------------------------------------------------------------------

  template <class Element, int R>
  static void page_scores(const Tile& tile, const Element* k, V (&score)[R]) {
    const float* q[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      q[r] = tile.rows[r].q;
      score[r] = V::set1(0.0f);
    }
    const int num_pairs = tile.args.kv.shape->head_dim / 2;
    for (int pair = 0; pair < num_pairs; ++pair, k += 2 * kPageTokens) {
      V even;
      V odd;
      load_pairs(k, even, odd);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) score[r] = V::fma(V::set1(q[r][2 * pair]), even, score[r]);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) score[r] = V::fma(V::set1(q[r][2 * pair + 1]), odd, score[r]);
    }
  }

  static V finish_scores(const AttentionArgs& args, V score) {
    score = score * V::set1(args.scale);
    if (args.softcap > 0.0f) {
      const V cap = V::set1(args.softcap);
      score = cap * Math<V>::tanh(score / cap);
    }
    return score;
  }

  template <class Element, int R>
  static void segment_scores(Tile& tile, int64_t segment_begin, int first_page, int end_page) {
    const V lowest = V::set1(-__builtin_inff());
    for (int page = first_page; page < end_page; ++page) {
      const int64_t begin = segment_begin + int64_t{page} * kPageTokens;
      const PageId id = tile.args.page_table[begin / kPageTokens];
      V score[R];
      page_scores<Element, R>(
          tile, reinterpret_cast<const Element*>(tile.args.kv.k_plane(id, tile.args.kv_head)), score);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Range valid = intersect(tile.rows[r].here, begin, begin + kPageTokens);
        V value = finish_scores(tile.args, score[r]);
        if (valid.end - valid.begin < kPageTokens)
          value = valid.begin < valid.end ? V::keep(value, static_cast<int>(valid.begin - begin),
                                                    static_cast<int>(valid.end - begin), lowest)
                                          : lowest;
        value.store(tile.weights[r] + page * kPageTokens);
      }
    }
  }

  // scores -> weights exp(score - max); returns through max and sum.
  static void exponentiate(float* weights, int first_page, int end_page, float& max, float& sum) {
    V best = V::set1(-__builtin_inff());
    for (int page = first_page; page < end_page; ++page)
      best = V::max(V::load(weights + page * kPageTokens), best);
    max = V::max_lane(best);
    const V shift = V::set1(max);
    V total = V::set1(0.0f);
    for (int page = first_page; page < end_page; ++page) {
      const V weight = Math<V>::exp(V::load(weights + page * kPageTokens) - shift);
      total = total + weight;
      weight.store(weights + page * kPageTokens);
    }
    sum = V::sum(total);
  }

  // ---- values
  // -----------------------------------------------------------------------------------------------------

  // A page that every row of the tile attends to as a whole.
  template <class Element, int R>
  static void full_page_values(const Tile& tile, const Element* v, int page, int num_blocks, State* states) {
    for (int block = 0; block < num_blocks; ++block, v += 16 * kPageTokens) {
      V acc[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r] = V::load(states[r].out + 16 * block);
      for (int pair = 0; pair < kPageTokens / 2; ++pair) {
        V even;
        V odd;
        load_pairs(v + 32 * pair, even, odd);
        const int token = page * kPageTokens + 2 * pair;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) acc[r] = V::fma(V::set1(tile.weights[r][token]), even, acc[r]);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) acc[r] = V::fma(V::set1(tile.weights[r][token + 1]), odd, acc[r]);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r].store(states[r].out + 16 * block);
    }
  }

  // A page of which some rows attend to a part: other slots may hold anything and are not touched.
  template <class Element>
  static void partial_page_values(const Tile& tile, const Element* v, int page, int64_t begin, int num_blocks,
                                  State* states) {
    for (int r = 0; r < tile.num_rows; ++r) {
      const Range valid = intersect(tile.rows[r].here, begin, begin + kPageTokens);
      for (int block = 0; block < num_blocks && valid.begin < valid.end; ++block) {
        V acc = V::load(states[r].out + 16 * block);
        for (int64_t position = valid.begin; position < valid.end; ++position) {
          const int slot = static_cast<int>(position - begin);
          V even;
          V odd;
          load_pairs(v + block * 16 * kPageTokens + slot / 2 * 32, even, odd);
          acc = V::fma(V::set1(tile.weights[r][page * kPageTokens + slot]), slot % 2 == 0 ? even : odd, acc);
        }
        acc.store(states[r].out + 16 * block);
      }
    }
  }

  template <class Element, int R>
  static void segment_values(const Tile& tile, int64_t segment_begin, int first_page, int end_page,
                             State* states) {
    const int num_blocks = (tile.args.kv.shape->head_dim + 15) / 16;
    for (int r = 0; r < R; ++r)
      for (int block = 0; block < num_blocks; ++block) V::set1(0.0f).store(states[r].out + 16 * block);
    for (int page = first_page; page < end_page; ++page) {
      const int64_t begin = segment_begin + int64_t{page} * kPageTokens;
      const PageId id = tile.args.page_table[begin / kPageTokens];
      const auto* v = reinterpret_cast<const Element*>(tile.args.kv.v_plane(id, tile.args.kv_head));
      bool full = true;
      for (int r = 0; r < R; ++r)
        full = full && tile.rows[r].here.begin <= begin && tile.rows[r].here.end >= begin + kPageTokens;
      if (full)
        full_page_values<Element, R>(tile, v, page, num_blocks, states);
      else
        partial_page_values<Element>(tile, v, page, begin, num_blocks, states);
    }
  }

  // ---- segments
  // ---------------------------------------------------------------------------------------------------

  // Fills states[r] for the rows that attend to something in the segment; the others get sum = -1.
  template <class Element, int R>
  static void segment_of(Tile& tile, int64_t segment, State* states) {
    const int64_t begin = segment * kSegmentTokens;
    Range all = {begin + kSegmentTokens, begin};
    for (int r = 0; r < R; ++r) {
      const Range here = intersect(tile.rows[r].range, begin, begin + kSegmentTokens);
      tile.rows[r].here = here;
      if (here.begin >= here.end) continue;
      all = {here.begin < all.begin ? here.begin : all.begin, here.end > all.end ? here.end : all.end};
    }
    const int first_page = static_cast<int>((all.begin - begin) / kPageTokens);
    const int end_page = static_cast<int>((all.end - begin + kPageTokens - 1) / kPageTokens);
    segment_scores<Element, R>(tile, begin, first_page, end_page);
    for (int r = 0; r < R; ++r) {
      exponentiate(tile.weights[r], first_page, end_page, states[r].max, states[r].sum);
      if (tile.rows[r].here.begin >= tile.rows[r].here.end) states[r].sum = -1.0f;
    }
    segment_values<Element, R>(tile, begin, first_page, end_page, states);
  }

  template <class Element>
  static void segment_of(Tile& tile, int64_t segment, State* states) {
    static_assert(kMaxRows <= 8);
    switch (tile.num_rows) {
      case 1:
        return segment_of<Element, 1>(tile, segment, states);
      case 2:
        return segment_of<Element, 2>(tile, segment, states);
      case 3:
        return segment_of<Element, 3>(tile, segment, states);
      case 4:
        return segment_of<Element, 4>(tile, segment, states);
      default:
        break;
    }
    if constexpr (kMaxRows > 4) {
      switch (tile.num_rows) {
        case 5:
          return segment_of<Element, 5>(tile, segment, states);
        case 6:
          return segment_of<Element, 6>(tile, segment, states);
        case 7:
          return segment_of<Element, 7>(tile, segment, states);
        default:
          return segment_of<Element, 8>(tile, segment, states);
      }
    }
  }
  static void run_segment(Tile& tile, int64_t segment, State* states) {
    if (tile.args.kv.shape->dtype == DType::f32)
      segment_of<float>(tile, segment, states);
    else
      segment_of<uint16_t>(tile, segment, states);
  }

  static float exp1(float x) {
    float lanes[16];
    Math<V>::exp(V::set1(x)).store(lanes);
    return lanes[0];
  }

  // total = total merged with the next segment's state. Both hold ceil(head_dim / 16) * 16 outputs.
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

  static void start_row(Tile& tile, int r, int64_t token, int head) {
    const AttentionArgs& args = tile.args;
    tile.rows[r].q = args.q + token * args.q_stride + int64_t{head} * args.kv.shape->head_dim;
    tile.rows[r].range = range_of(args, token);
  }

  static int heads_per_group(const AttentionArgs& args) {
    return args.num_q_heads / args.kv.shape->num_kv_heads;
  }

  // ---- entry points
  // -----------------------------------------------------------------------------------------------

  static void attention(const AttentionArgs& args, int64_t token_begin, int64_t token_end) noexcept {
    const int group = heads_per_group(args);
    const int head_dim = args.kv.shape->head_dim;
    const int64_t num_rows = (token_end - token_begin) * group;
    Tile tile(args);
    State totals[kMaxRows];
    State states[kMaxRows];
    for (int64_t first = 0; first < num_rows; first += kMaxRows) {
      tile.num_rows = static_cast<int>(num_rows - first < kMaxRows ? num_rows - first : kMaxRows);
      int64_t begin = INT64_MAX;
      int64_t end = 0;
      for (int r = 0; r < tile.num_rows; ++r) {
        const int64_t token = token_begin + (first + r) / group;
        start_row(tile, r, token, args.kv_head * group + static_cast<int>((first + r) % group));
        const Range range = tile.rows[r].range;
        begin = range.begin < begin ? range.begin : begin;
        end = range.end > end ? range.end : end;
        totals[r].sum = -1.0f;
      }
      for (int64_t segment = begin / kSegmentTokens; segment * kSegmentTokens < end; ++segment) {
        run_segment(tile, segment, states);
        for (int r = 0; r < tile.num_rows; ++r) {
          if (states[r].sum == -1.0f) continue;
          if (totals[r].sum == -1.0f) {
            copy_state(states[r], totals[r], head_dim);
            continue;
          }
          merge(totals[r].max, totals[r].sum, totals[r].out, states[r].max, states[r].sum, states[r].out,
                head_dim);
        }
      }
      for (int r = 0; r < tile.num_rows; ++r) {
        const int64_t token = token_begin + (first + r) / group;
        const int64_t head = args.kv_head * group + (first + r) % group;
        write_out(totals[r].out, totals[r].sum, head_dim,
                  args.out + token * args.out_stride + head * head_dim);
      }
    }
  }

  static void copy_state(const State& from, State& to, int head_dim) {
    to.max = from.max;
    to.sum = from.sum;
    for (int d = 0; d < head_dim; ++d) to.out[d] = from.out[d];
  }

  static void attention_segment(const AttentionArgs& args, int64_t token, int64_t segment,
                                float* partials) noexcept {
    const int group = heads_per_group(args);
    const int head_dim = args.kv.shape->head_dim;
    Tile tile(args);
    State states[kMaxRows];
    for (int first = 0; first < group; first += kMaxRows) {
      tile.num_rows = group - first < kMaxRows ? group - first : kMaxRows;
      for (int r = 0; r < tile.num_rows; ++r) start_row(tile, r, token, args.kv_head * group + first + r);
      run_segment(tile, segment, states);
      for (int r = 0; r < tile.num_rows; ++r) {
        float* partial = partials + int64_t{first + r} * (head_dim + 2);
        partial[0] = states[r].max;
        partial[1] = states[r].sum;
        for (int d = 0; d < head_dim; ++d) partial[2 + d] = states[r].out[d];
      }
    }
  }

  static void attention_merge(const AttentionArgs& args, int64_t token, int64_t num_segments,
                              const float* partials) noexcept {
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
      const int64_t head = int64_t{args.kv_head} * group + row;
      write_out(total.out, total.sum, head_dim, args.out + token * args.out_stride + head * head_dim);
    }
  }
};

}  // namespace pagoda
