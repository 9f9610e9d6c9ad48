// Attention of few tokens over long contexts: threads share the segments of each token instead of whole
// tokens.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace pagoda {

// One token and one KV head.
struct SplitPiece {
  int32_t sequence = 0;
  int32_t token = 0;  // in the sequence's tokens
  int32_t kv_head = 0;
  int32_t first_item = 0;  // segments of the pieces before it
};

// Scratch for one layer at a time; rebuilt for each, since windows differ.
class SegmentSplit {
 public:
  // More pieces than this keep all threads busy without being split.
  static int64_t max_pieces(int num_threads) { return int64_t{4} * num_threads; }
  // Room for tokens at positions below `context`, from a Workspace or WorkspaceSizer. q_per_kv: query heads
  // that share a KV head.
  template <class Source>
  static SegmentSplit take(Source& source, int num_threads, int64_t context, int64_t q_per_kv,
                           int64_t head_dim) {
    SegmentSplit split;
    const int64_t pieces = max_pieces(num_threads);
    const int64_t segments = (context + kSegmentTokens - 1) / kSegmentTokens;
    split.pieces_ = source.template take<SplitPiece>(static_cast<size_t>(pieces));
    if (num_threads > 1 && segments > 1)
      split.partials_ =
          source.template take<float>(static_cast<size_t>(pieces * segments * q_per_kv * (head_dim + 2)));
    return split;
  }

  void clear() {
    num_pieces_ = 0;
    num_items_ = 0;
  }
  // False if there is no room: then nothing is to be split.
  bool add(SplitPiece piece, int64_t num_segments);
  // Whether some token has several segments.
  bool is_worthwhile() const { return !partials_.empty() && num_items_ > static_cast<int64_t>(num_pieces_); }
  // args_of(piece): the AttentionArgs of the piece's sequence and KV head.
  template <class ArgsOf>
  void run(ThreadPool& pool, const Kernels& kernels, ArgsOf&& args_of) const;

 private:
  std::span<const SplitPiece> pieces() const { return pieces_.first(num_pieces_); }

  std::span<SplitPiece> pieces_;
  std::span<float> partials_;  // [item][partial_floats]
  size_t num_pieces_ = 0;
  int64_t num_items_ = 0;
};

inline bool SegmentSplit::add(SplitPiece piece, int64_t num_segments) {
  if (num_pieces_ == pieces_.size()) return false;
  piece.first_item = static_cast<int32_t>(num_items_);
  pieces_[num_pieces_++] = piece;
  num_items_ += num_segments;
  return true;
}

template <class ArgsOf>
void SegmentSplit::run(ThreadPool& pool, const Kernels& kernels, ArgsOf&& args_of) const {
  pool.parallel_for(static_cast<size_t>(num_items_), 1, [&](size_t begin, size_t end, int) {
    for (auto item = static_cast<int64_t>(begin); item < static_cast<int64_t>(end); ++item) {
      const auto after =
          std::upper_bound(pieces().begin(), pieces().end(), item,
                           [](int64_t wanted, const SplitPiece& p) { return wanted < p.first_item; });
      const SplitPiece& piece = *(after - 1);
      const AttentionArgs args = args_of(piece);
      const int64_t segment = segments_of(args, piece.token).first + item - piece.first_item;
      kernels.ops.attention_segment(args, piece.token, segment,
                                    partials_.data() + item * partial_floats(args));
    }
  });
  pool.parallel_for(num_pieces_, 4, [&](size_t begin, size_t end, int) {
    for (const SplitPiece& piece : pieces().subspan(begin, end - begin)) {
      const AttentionArgs args = args_of(piece);
      kernels.ops.attention_merge(args, piece.token, segments_of(args, piece.token).count,
                                  partials_.data() + piece.first_item * partial_floats(args));
    }
  });
}

}  // namespace pagoda
