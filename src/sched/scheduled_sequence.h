// A sequence as a scheduling policy sees it: plain numbers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pagoda {

using SequenceId = uint64_t;  // ascending in order of arrival

// Lives in the engine's sequence; its address is stable. While it waits in a policy's queue, nobody but the
// policy changes what its place depends on.
struct ScheduledSequence {
  static constexpr size_t kNoPlace = SIZE_MAX;
  static constexpr int32_t kNoLevel = INT32_MIN;

  // ---- kept by the engine; times in seconds are predictions of the cost model ----
  SequenceId id = 0;
  int64_t arrival_ns = 0;
  int32_t priority = 0;       // the client's; lower goes first, as in vLLM
  uint64_t client = 0;        // whose share of the engine it takes
  int64_t max_generated = 0;  // tokens at most
  int64_t num_generated = 0;
  double alone_seconds = 0;    // for its prompt when it came, by itself, after the prefix hit
  double prefill_seconds = 0;  // for what is known and not computed
  double saved_seconds = 0;    // by the prefix hit
  double token_seconds = 0;    // for one more token, by itself
  double backlog_seconds = 0;  // of others, unfinished when it came: its wait, first come, first served

  // ---- the policy's ----
  size_t queue_place = kNoPlace;
  size_t deadline_place = kNoPlace;
  int64_t deadline_ns = 0;
  double expected_seconds = 0;  // when it came: by itself, prompt and output
  int32_t level = kNoLevel;
  double tag = 0;           // order within the level
  int64_t level_until = 0;  // tokens generated at which its level may change
};

}  // namespace pagoda
