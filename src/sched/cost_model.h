// How long a step takes, from what is in it: a linear model of a few numbers, seeded once and then fitted to
// every step that runs. Plain numbers in, plain numbers out; it never looks at a clock.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sched/recent_values.h"

namespace pagoda {

// What a step pays for. Few tokens read the weights once and wait for memory; from kFewTokens on they wait
// for arithmetic: tokens up to there and beyond have terms of their own.
enum class CostTerm {
  pass,             // a forward pass whatever it computes
  batch,            // there is more than one token: other kernels run
  few_tokens,       // tokens 2 … kFewTokens
  more_tokens,      // tokens beyond
  logits,           // there are rows of logits: the vocabulary's matrix is read
  logits_rows,      // of them; sampling included
  kv_positions,     // positions whose K and V are read, once for each sequence
  attention_pairs,  // (token, position that it sees) of sequences that compute several
  sequences,        // that take part
};
inline constexpr size_t kNumCostTerms = 9;
inline constexpr int64_t kFewTokens = 8;
std::string_view to_string(CostTerm term);

// By CostTerm: how much of each a step has, or seconds for one unit of each.
using CostVector = std::array<double, kNumCostTerms>;

// Which positions tokens see: layers with sliding windows see the last ones only. Numbers of positions are
// averages over the layers.
class AttentionReach {
 public:
  // [layers] positions that a token sees, itself included; 0: all. No layers: all.
  explicit AttentionReach(std::span<const int64_t> layer_windows = {});
  // Seen by the token at `position`.
  double positions(int64_t position) const;
  // Seen by the tokens at [first, first + count), all together.
  double pairs(int64_t first, int64_t count) const;

 private:
  struct Window {
    int64_t positions = 0;  // 0: all
    double share = 0;       // of the layers
  };
  std::vector<Window> windows_;
};

// What one sequence computes in a step: the tokens at [first_position, first_position + num_tokens).
struct WorkItem {
  int64_t first_position = 0;
  int64_t num_tokens = 0;
  int64_t num_logits_rows = 0;
};

// What a step computes, in sums over its items.
struct StepWork {
  int64_t num_sequences = 0;
  int64_t num_tokens = 0;
  int64_t num_logits_rows = 0;
  double kv_positions = 0;
  double attention_pairs = 0;

  void add(const WorkItem& item, const AttentionReach& reach);
  CostVector terms() const;
};

// The tokens of one sequence that could be computed next.
struct ChunkRange {
  int64_t first_position = 0;
  int64_t most_tokens = 0;         // at least 1
  bool ends_prompt = false;        // the last of them is sampled after
  bool logits_everywhere = false;  // log probabilities of all of them are wanted
};

// Fitted by least squares of the relative error: exponentially forgetting, coefficients never negative,
// outliers weighed down (Huber, at 3 sigma), with the seed as a prior of small constant weight, so that terms
// which have not occurred for long keep their values. A recursive least squares filter in information form.
// Deterministic. So it tells what a step usually takes, not the mean; sums of steps are StepPace's to tell.
// observe() takes microseconds and allocates nothing.
//
// Beside them, how fast the machine is just now: where others share it, errors come in runs of tens of steps,
// and what the last step lacked tells more about the next one than the coefficients do.
class CostModel {
 public:
  // `seed`: seconds per unit. A term with 0 is free until it is observed.
  explicit CostModel(AttentionReach reach = AttentionReach(), const CostVector& seed = {});

  // ---- seeding and fitting ----
  // A measurement for the prior. fit() then moves the coefficients.
  struct Seed {
    StepWork work;
    double seconds = 0;
  };
  void add_seed(const StepWork& work, double seconds);
  void fit();
  // A step that ran; ones of no duration are ignored. Do not hand over steps that waited for something else
  // than computing.
  void observe(const StepWork& work, double seconds);

  // ---- predictions, in seconds ----
  double predict(const StepWork& work) const;
  // The part of predict(step) that the item answers for: what it adds itself and its share of what all need.
  // The shares of all items add up to the whole.
  double share(const StepWork& step, const WorkItem& item) const;
  // Alone, in one pass.
  double predict_alone(const WorkItem& item) const;
  // The most of the range's tokens with which a step that has `step` already stays within `seconds`; 0 if not
  // one does. Ends where a block of rows of the kernels ends, unless it takes the whole range or less than a
  // block.
  int64_t largest_chunk(const StepWork& step, const ChunkRange& range, double seconds) const;

  // How many times as long as predicted the next step will take, by those just before: the logarithm moves
  // half of the way to each, and no step moves it far, for a standstill says nothing about the next step. For
  // bounds of the next step; what steps take in the mean of many is StepPace's.
  double pace() const { return pace_; }

  const AttentionReach& reach() const { return reach_; }
  const CostVector& coefficients() const { return coefficients_; }
  // What it began with: a model made of the same guess and seeds that observes the same steps is the same.
  const CostVector& guess() const { return guess_; }
  std::span<const Seed> seeds() const { return seeds_; }
  // The relative error |measured / (predicted · pace) - 1| that half of the recent steps stay below, and the
  // relative excess that 99 % of those with chunks stay below: only they are made as long as a bound allows,
  // and steps that generate are so short that little disturbs them much. Both are guesses before some steps
  // have run, that of the margin a careful one: the seeds are the best of several passes.
  double median_error() const { return median_error_; }
  double margin() const { return margin_; }
  uint64_t num_observed() const { return errors_.num_added(); }

 private:
  // Normal equations of a least squares problem.
  struct Equations {
    std::array<CostVector, kNumCostTerms> matrix{};
    CostVector right{};
    void scale(double factor);
    // One row of relative error: terms / seconds · coefficients = 1.
    void add(const CostVector& terms, double seconds, double weight);
  };
  // The least squares solution whose coefficients are not negative.
  static CostVector solve(const Equations& equations);
  // Relative errors of the last steps of a kind.
  using RecentErrors = RecentValues<float, 256>;
  void record_error(double relative_error, bool has_chunk);
  void follow_pace(double factor);

  AttentionReach reach_;
  CostVector guess_{};
  std::vector<Seed> seeds_;
  CostVector coefficients_{};
  Equations prior_;
  Equations recent_;
  RecentErrors errors_;
  RecentErrors chunk_errors_;  // of steps with chunks
  double pace_ = 1;
  double median_error_ = 0.05;
  double margin_ = 0.2;
};

}  // namespace pagoda
