// Drives a model over the paged cache in every way that must not change a bit: chunks, batches, threads, page
// orders.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "kv/kv_pool.h"
#include "model/model_folder.h"

namespace pagoda::testing {

enum class PageOrder { ascending, shuffled };

enum class Rows { all, last };

// One sequence's share of a step.
struct Feed {
  int32_t sequence = 0;
  std::span<const int32_t> ids;
};

class ModelRunner {
 public:
  struct Options {
    Isa isa = Isa::scalar;
    int32_t num_sequences = 1;
    int32_t max_tokens = 256;  // of a step
    int64_t max_context = 256;
    PageOrder order = PageOrder::ascending;
    bool only_greatest = false;
  };

  ModelRunner(Model& model, ThreadPool& pool, const Options& options)
      : model_(model),
        pool_(pool),
        options_(options),
        pages_per_sequence_(static_cast<int32_t>((options.max_context + kPageTokens - 1) / kPageTokens)),
        kv_(value_of(KvPool::create(model.info().kv_shape, pages_per_sequence_ * options.num_sequences))),
        workspace_(value_of(Workspace::create(model.workspace_bytes(limits())))),
        page_ids_(static_cast<size_t>(pages_per_sequence_ * options.num_sequences)),
        lengths_(static_cast<size_t>(options.num_sequences)) {
    std::iota(page_ids_.begin(), page_ids_.end(), 0);
    if (options.order == PageOrder::shuffled) shuffle();
  }

  // One step; returns the logits of all its tokens or of its last one, sequence after sequence.
  std::vector<float> step(const std::vector<Feed>& feeds, Rows wanted = Rows::all) {
    std::vector<int32_t> ids;
    std::vector<int32_t> positions;
    std::vector<SequenceSlice> slices;
    for (const Feed& feed : feeds) {
      int64_t& length = lengths_.at(static_cast<size_t>(feed.sequence));
      slices.push_back({static_cast<int32_t>(ids.size()), static_cast<int32_t>(feed.ids.size()), length,
                        page_table(feed.sequence)});
      for (const int32_t id : feed.ids) {
        ids.push_back(id);
        positions.push_back(static_cast<int32_t>(length++));
      }
    }
    std::vector<int32_t> rows(ids.size());
    std::iota(rows.begin(), rows.end(), 0);
    if (wanted == Rows::last) rows.erase(rows.begin(), rows.end() - 1);
    return forward(ids, positions, slices, rows);
  }

  // Feeds sequence 0 in chunks; returns the hidden states of all tokens, while a token of sequence 1 wants
  // logits.
  std::vector<float> run_hidden(std::span<const int32_t> ids, size_t chunk) {
    const auto width = static_cast<size_t>(model_.info().hidden_size);
    std::vector<float> hidden(ids.size() * width);
    for (size_t begin = 0; begin < ids.size(); begin += chunk) {
      const auto part = ids.subspan(begin, std::min(chunk, ids.size() - begin));
      std::vector<int32_t> step_ids = {ids.front()};
      std::vector<int32_t> positions = {static_cast<int32_t>(lengths_.at(1)++)};
      step_ids.insert(step_ids.end(), part.begin(), part.end());
      std::vector<int32_t> rows;
      for (size_t i = 0; i < part.size(); ++i) {
        positions.push_back(static_cast<int32_t>(begin + i));
        rows.push_back(static_cast<int32_t>(i) + 1);
      }
      const std::vector<SequenceSlice> slices = {
          {0, 1, positions[0], page_table(1)},
          {1, static_cast<int32_t>(part.size()), static_cast<int64_t>(begin), page_table(0)}};
      const std::vector<int32_t> logits_rows = {0};
      std::vector<float> logits(static_cast<size_t>(model_.info().vocab_size));
      workspace_.reset();
      ForwardContext context = {pool_, kernels_for(options_.isa), kv_, workspace_,
                                std::span(hidden).subspan(begin * width)};
      model_.forward({step_ids, positions, slices, logits_rows, rows}, context, logits);
    }
    return hidden;
  }

  // Feeds one sequence in chunks; returns the logits of the last token.
  std::vector<float> run_to_last(std::span<const int32_t> ids, size_t chunk) {
    std::vector<float> logits;
    for (size_t begin = 0; begin < ids.size(); begin += chunk)
      logits = step({{0, ids.subspan(begin, std::min(chunk, ids.size() - begin))}}, Rows::last);
    return logits;
  }

  // The same with the logits of all tokens.
  std::vector<float> run(std::span<const int32_t> ids, size_t chunk, int32_t sequence = 0) {
    std::vector<float> logits;
    for (size_t begin = 0; begin < ids.size(); begin += chunk) {
      const std::vector<float> part =
          step({{sequence, ids.subspan(begin, std::min(chunk, ids.size() - begin))}});
      logits.insert(logits.end(), part.begin(), part.end());
    }
    return logits;
  }

  std::vector<float> forward(std::span<const int32_t> ids, std::span<const int32_t> positions,
                             std::span<const SequenceSlice> slices, std::span<const int32_t> rows) {
    std::vector<float> logits(rows.size() * static_cast<size_t>(model_.info().vocab_size));
    workspace_.reset();
    ForwardContext context = {pool_, kernels_for(options_.isa), kv_, workspace_};
    model_.forward({ids, positions, slices, rows, {}, options_.only_greatest}, context, logits);
    return logits;
  }

  // Takes what a sequence has out of the pool, as the disk holds it, and puts it into the pages of another.
  void move(int32_t from, int32_t to) {
    std::vector<std::byte> bytes(model_.info().kv_shape.page_bytes());
    for (size_t i = 0; i < page_table(from).size(); ++i) {
      kv_.copy_out(page_table(from)[i], bytes);
      kv_.copy_in(page_table(to)[i], bytes);
    }
    lengths_.at(static_cast<size_t>(to)) = std::exchange(lengths_.at(static_cast<size_t>(from)), 0);
  }

  std::span<const PageId> page_table(int32_t sequence) const {
    return std::span(page_ids_).subspan(static_cast<size_t>(sequence * pages_per_sequence_),
                                        static_cast<size_t>(pages_per_sequence_));
  }

 private:
  BatchLimits limits() const {
    return {options_.max_tokens, options_.num_sequences, options_.max_tokens, options_.max_context,
            pool_.num_threads()};
  }
  void shuffle() {
    uint64_t state = 12345;
    for (size_t i = page_ids_.size(); i > 1; --i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      std::swap(page_ids_[i - 1], page_ids_[(state >> 33) % i]);
    }
  }

  Model& model_;
  ThreadPool& pool_;
  Options options_;
  int32_t pages_per_sequence_;
  KvPool kv_;
  Workspace workspace_;
  std::vector<PageId> page_ids_;
  std::vector<int64_t> lengths_;
};

// The index of the greatest of the last row's logits.
inline int32_t greedy(std::span<const float> logits, int64_t vocab_size) {
  const std::span<const float> row = logits.last(static_cast<size_t>(vocab_size));
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

}  // namespace pagoda::testing
