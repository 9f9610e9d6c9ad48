// A linear layer of which only the greatest output of each token is wanted: the vocabulary projection of a
// greedy step. It is found exactly while most of the weights' lower bits stay unread.
//
// A pass over the outlines (Packing::outline) gives every output but for an error that has a bound, hence for
// every group of rows what its outputs are at most. The group with the greatest of them is computed exactly;
// then all groups whose bound reaches its greatest output, less than one in a hundred as a rule. No other row
// can win, whatever its lower bits are. To prune by bounds and verify what is left is how exact maximum inner
// product search works (for instance LEMP: Teflioudi, Gemulla and Mykytiuk, SIGMOD 2015); the bounds here are
// those of quantisation (kernels/isa/outline_body.h).
#pragma once

#include <cstdint>
#include <span>

#include "nn/linear.h"

namespace pagoda {

// Whether screening is worth its while, from how it went: where too many groups pass, as with hidden states
// that make no token likely, the pass over the outlines was for nothing. Then a few steps do without it, ever
// more while that goes on. Only time depends on it.
class ScreeningGate {
 public:
  // Whether the next step is to be screened.
  bool opens();
  // Whether it is worth it to compute so many of all groups exactly one by one, rather than all of them.
  static bool is_worth(int64_t num_passed, int64_t num_groups);
  void note(bool was_worth);

 private:
  static constexpr int kLongestPause = 64;
  int pause_ = 0;  // steps that the last pause took
  int left_ = 0;   // steps of the present pause
};

class ScreeningScratch {
 public:
  // With more tokens screening is no gain: computing takes the time then, not reading.
  static constexpr int64_t kMaxTokens = 4;

  // Room for a layer of num_groups groups, from a Workspace or WorkspaceSizer.
  template <class Source>
  static ScreeningScratch take(Source& source, int64_t num_groups) {
    const auto groups = static_cast<size_t>(num_groups);
    ScreeningScratch scratch;
    scratch.greatest_ = source.template take<float>(groups * kMaxTokens);
    scratch.bounds_ = source.template take<float>(groups * kMaxTokens);
    scratch.passed_ = source.template take<int32_t>(groups);
    return scratch;
  }
  // [num_groups] of a token: the greatest output from the outlines, and what the exact ones are at most.
  float* greatest(int64_t token, int64_t num_groups) const { return greatest_.data() + token * num_groups; }
  float* bounds(int64_t token, int64_t num_groups) const { return bounds_.data() + token * num_groups; }
  std::span<int32_t> passed() const { return passed_; }

 private:
  std::span<float> greatest_;
  std::span<float> bounds_;
  std::span<int32_t> passed_;
};

// Whether run_screened_linear() can compute that.
bool can_screen(const LinearWeight& weight, int64_t num_tokens);

// Writes outputs of which the greatest of each token is that of run_linears(), bit by bit, as all are that
// are not below it; others are approximations below it. The call's store must be `overwrite`.
void run_screened_linear(ThreadPool& pool, const Kernels& kernels, const ActivationRows& input,
                         int64_t num_tokens, const LinearCall& call, const ScreeningScratch& scratch,
                         ScreeningGate& gate) noexcept;

}  // namespace pagoda
