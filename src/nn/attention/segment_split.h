// Attention of few tokens over long contexts: threads share the segments of each token instead of whole
// tokens.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace pagoda {

// One token, all KV heads.
struct SplitToken {
  int32_t sequence = 0;
  int32_t token = 0;       // in the sequence's tokens
  int32_t first_item = 0;  // segments times KV heads of the tokens before it
};

// Scratch for one layer at a time; rebuilt for each, since windows differ.
class SegmentSplit {
 public:
  // More pieces, tokens times KV heads, than this keep all threads busy without being split.
  static int64_t max_pieces(int num_threads) { return int64_t{4} * num_threads; }
  // Room for tokens at positions below `context`, from a Workspace or WorkspaceSizer. q_per_kv: query heads
  // that share a KV head.
  template <class Source>
  static SegmentSplit take(Source& source, int num_threads, int64_t context, int64_t q_per_kv,
                           int64_t head_dim) {
    SegmentSplit split;
    const int64_t pieces = max_pieces(num_threads);
    const int64_t segments = (context + kSegmentTokens - 1) / kSegmentTokens;
    split.tokens_ = source.template take<SplitToken>(static_cast<size_t>(pieces));
    if (num_threads > 1 && segments > 1)
      split.partials_ =
          source.template take<float>(static_cast<size_t>(pieces * segments * q_per_kv * (head_dim + 2)));
    return split;
  }

  void clear(int num_kv_heads) {
    num_kv_heads_ = static_cast<size_t>(num_kv_heads);
    num_tokens_ = 0;
    num_items_ = 0;
  }
  // False if there is no room: then nothing is to be split.
  bool add(SplitToken token, int64_t num_segments);
  // Whether some token has several segments.
  bool is_worthwhile() const { return !partials_.empty() && num_items_ > static_cast<int64_t>(num_pieces()); }
  // args_of(sequence, kv_head): their AttentionArgs.
  template <class ArgsOf>
  void run(ThreadPool& pool, const Kernels& kernels, ArgsOf&& args_of) const;

 private:
  std::span<const SplitToken> tokens() const { return tokens_.first(num_tokens_); }
  size_t num_pieces() const { return num_tokens_ * num_kv_heads_; }

  std::span<SplitToken> tokens_;
  std::span<float> partials_;  // [token][kv head][segment][partial_floats]
  size_t num_kv_heads_ = 0;
  size_t num_tokens_ = 0;
  int64_t num_items_ = 0;
};

inline bool SegmentSplit::add(SplitToken token, int64_t num_segments) {
  if (num_pieces() + num_kv_heads_ > tokens_.size()) return false;
  token.first_item = static_cast<int32_t>(num_items_);
  tokens_[num_tokens_++] = token;
  num_items_ += num_segments * static_cast<int64_t>(num_kv_heads_);
  return true;
}

template <class ArgsOf>
void SegmentSplit::run(ThreadPool& pool, const Kernels& kernels, ArgsOf&& args_of) const {
  const auto num_heads = static_cast<int64_t>(num_kv_heads_);
  const auto partials_of = [&](const AttentionArgs& args, const SplitToken& token, int64_t segment) {
    const int64_t item = token.first_item + args.kv_head * segments_of(args, token.token).count + segment;
    return partials_.data() + item * partial_floats(args);
  };
  // All KV heads of a segment in turn, as they lie in memory.
  pool.parallel_for(static_cast<size_t>(num_items_), 1, [&](size_t begin, size_t end, int) {
    for (auto item = static_cast<int64_t>(begin); item < static_cast<int64_t>(end); ++item) {
      const auto after =
          std::upper_bound(tokens().begin(), tokens().end(), item,
                           [](int64_t wanted, const SplitToken& t) { return wanted < t.first_item; });
      const SplitToken& token = *(after - 1);
      const int64_t rest = item - token.first_item;
      const AttentionArgs args = args_of(token.sequence, static_cast<int>(rest % num_heads));
      const int64_t segment = rest / num_heads;
      kernels.ops.attention_segment(args, token.token, segments_of(args, token.token).first + segment,
                                    partials_of(args, token, segment));
    }
  });
  pool.parallel_for(num_pieces(), 4, [&](size_t begin, size_t end, int) {
    for (size_t piece = begin; piece < end; ++piece) {
      const SplitToken& token = tokens()[piece / num_kv_heads_];
      const AttentionArgs args = args_of(token.sequence, static_cast<int>(piece % num_kv_heads_));
      kernels.ops.attention_merge(args, token.token, segments_of(args, token.token).count,
                                  partials_of(args, token, 0));
    }
  });
}

}  // namespace pagoda
