// What the tiles of attention have in common: (query token, query head) rows of one KV head, the cached
// tokens they attend to, and what a segment leaves of them.
#pragma once

#include <cstdint>

#include "kernels/isa/ops_math.h"
#include "kernels/ops.h"

namespace pagoda {
namespace {

// Cached positions [begin, end).
struct PositionRange {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t length() const { return end - begin; }
};
[[gnu::always_inline]] inline PositionRange intersect(PositionRange a, int64_t begin, int64_t end) {
  return {a.begin > begin ? a.begin : begin, a.end < end ? a.end : end};
}

struct AttentionRow {
  PositionRange range;  // positions that the row attends to
  PositionRange here;   // those in the current segment; length() <= 0: none
};

// What a segment leaves of a row: greatest score, sum of weights, weighted sum of values.
struct alignas(64) AttentionState {
  static constexpr float kEmpty = -1.0f;

  float out[kMaxHeadDim];
  float max;
  float sum;  // kEmpty: the row attends to nothing here
};

// Entries of the page table that a call may read.
[[gnu::always_inline]] inline int64_t num_table_pages(const AttentionArgs& args) {
  return (args.first_position + args.num_tokens + kPageTokens - 1) / kPageTokens;
}

// Pages of a segment that some of its rows attend to.
struct SegmentPages {
  int64_t segment_begin = 0;
  int first = 0;
  int end = 0;
  PositionRange common = {};  // positions that all rows attend to

  int64_t position(int page) const { return segment_begin + int64_t{page} * kPageTokens; }
  int64_t table_index(int page) const { return segment_begin / kPageTokens + page; }
  // Whether all rows attend to all of the page.
  bool is_common(int page) const {
    return common.begin <= position(page) && common.end >= position(page) + kPageTokens;
  }
};

// Finds each row's positions in the segment.
[[gnu::always_inline]] inline SegmentPages enter_segment(AttentionRow* rows, int num_rows, int64_t segment) {
  const int64_t begin = segment * kSegmentTokens;
  PositionRange all = {begin + kSegmentTokens, begin};
  PositionRange common = {0, INT64_MAX};
  for (int r = 0; r < num_rows; ++r) {
    const PositionRange here = intersect(rows[r].range, begin, begin + kSegmentTokens);
    rows[r].here = here;
    common = intersect(common, here.begin, here.end);
    if (here.length() <= 0) continue;
    all = {here.begin < all.begin ? here.begin : all.begin, here.end > all.end ? here.end : all.end};
  }
  return {begin, static_cast<int>((all.begin - begin) / kPageTokens),
          static_cast<int>((all.end - begin + kPageTokens - 1) / kPageTokens), common};
}

// Slots of a page that a row attends to.
struct PageSlots {
  int begin = 0;
  int end = 0;
};
[[gnu::always_inline]] inline PageSlots slots_of(const AttentionRow& row, int64_t page_begin) {
  const PositionRange valid = intersect(row.here, page_begin, page_begin + kPageTokens);
  if (valid.length() <= 0) return {};
  return {static_cast<int>(valid.begin - page_begin), static_cast<int>(valid.end - page_begin)};
}

// Which segment is read after another.
struct NextSegment {
  int kv_head = 0;
  int segments_on = 1;  // 0: the same tokens

  // The next of a KV head.
  static NextSegment of_head(const AttentionArgs& args) { return {args.kv_head, 1}; }
  // Of all KV heads in turn.
  static NextSegment of_heads(const AttentionArgs& args) {
    if (args.kv_head + 1 < args.kv.shape->num_kv_heads) return {args.kv_head + 1, 0};
    return {0, 1};
  }
};

// Brings bytes to the second level of the cache.
[[gnu::always_inline]] inline void prefetch_bytes(const void* p, int64_t num_bytes) {
  for (int64_t i = 0; i < num_bytes; i += 64) __builtin_prefetch(static_cast<const char*>(p) + i, 0, 2);
}

}  // namespace

// From sums of products to scores: scale and softcap.
template <class V>
class ScoreFinish {
 public:
  explicit ScoreFinish(const AttentionArgs& args) : scale_(args.scale), softcap_(args.softcap) {}
  V operator()(V score) const {
    score = score * V::set1(scale_);
    if (softcap_ > 0.0f) {
      const V cap = V::set1(softcap_);
      score = cap * Math<V>::tanh(score / cap);
    }
    return score;
  }

 private:
  float scale_;
  float softcap_;
};

// The weights of a page's tokens by a row's scores in the segment, of which `max` is the greatest.
template <class V>
V weights_of(const float* scores, int page, float max) {
  return Math<V>::exp_of_nonpositive(V::load(scores + page * kPageTokens) - V::set1(max));
}

// The greatest score of each row in a segment, by lanes.
template <class V, int kRows>
struct GreatestScores {
  alignas(64) float lanes[kRows][16];

  void reset() {
    for (auto& row : lanes) V::set1(-__builtin_inff()).store(row);
  }
  void add(int row, V scores) { V::max(scores, V::load(lanes[row])).store(lanes[row]); }
  float of(int row) const { return V::max_lane(V::load(lanes[row])); }
};

}  // namespace pagoda
