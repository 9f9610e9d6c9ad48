// The running state of a request and of its sequences. Built on the thread that submits, then owned by the
// engine thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "engine/embedding_pool.h"
#include "engine/engine_config.h"
#include "engine/request.h"
#include "engine/sequence_output.h"
#include "kv/kv_cache.h"
#include "sched/scheduled_sequence.h"
#include "text/constraint.h"

namespace pagoda {

struct RequestState;

enum class SequenceState {
  follower,  // waits for the first sequence of its request to compute the prompt that they share
  waiting,   // holds no pages
  running,
  finished,
};

// A sequence has no phase: num_known tokens are known, num_computed of them are in the cache, and when they
// meet the next one is sampled. Decoding is having one to compute.
struct Sequence : ScheduledSequence {
  Sequence(RequestState& owner, int32_t index_in_request, const Tokenizer& tokenizer);

  int64_t num_known() const;
  // Tokens from the first one on that need not be computed if they are in the cache: not the last, whose
  // logits are wanted, nor any that somebody wants to look at.
  int64_t max_cached() const;
  int64_t num_remaining() const { return num_known() - num_computed; }
  int32_t token(int64_t position) const;

  RequestState& request;
  const int32_t index;
  uint64_t seed = 0;
  SequenceState state = SequenceState::follower;
  int64_t num_computed = 0;
  KvHandle kv = -1;        // while running
  bool restoring = false;  // what it has computed before, or another has, is being read: it cannot run yet
  int64_t num_left_pages = 0;      // while it waits: full pages that it had before it was preempted
  TailId tail = kNoTail;           // likewise: its last page, if that is not full
  ReturnId returning = kNoReturn;  // likewise: its pages are awaited
  double expected_start = 0;       // likewise: when it will run again, in seconds of the clock
  size_t waiting_place = 0;        // among those that wait, where it does
  int32_t queued_class = 0;        // likewise: what it adds to the queued work
  double queued_seconds = 0;       // of its prompt
  double queued_tokens = 0;        // expected of its output, where that has begun
  bool has_news = false;
  int64_t first_token_ns = -1;
  int64_t last_token_ns = -1;
  SequenceOutput output;
  // If the request has one: between steps it has taken output.tokens().
  std::optional<Constraint> constraint;
  Status constraint_status;  // of its last mask or token
};

// Log probabilities of the prompt's tokens, where asked for: entry i is of token i + 1.
struct PromptScores {
  PromptScores(const Request& request);

  bool wanted = false;
  bool published = false;
  int64_t num_rows = 0;    // rows of logits to look at: prompt positions 0 … num_rows - 1
  int64_t num_scored = 0;  // the first of them that are done
  std::vector<TokenEvent> events;
  std::vector<TokenLogprob> top_logprobs;  // [num_rows][Request::num_prompt_top()]

  bool complete() const { return num_scored == num_rows; }
  void set(int64_t row, const SampledToken& scored, int32_t num_top);
};

// The tokens of a sequence, known ones of its prompt and output, for the prefix cache.
class SequenceKeys final : public KeySource {
 public:
  explicit SequenceKeys(const Sequence& sequence) : sequence_(sequence) {}
  int64_t num_tokens() const override { return sequence_.num_known(); }
  PageTokens page(int64_t index) const override;

 private:
  const Sequence& sequence_;
};

struct RequestState {
  RequestState(Request wish, std::shared_ptr<RequestSink> listener, EndRules end_rules,
               const Tokenizer& tokenizer, int64_t now_ns);
  // Once, before it is handed over.
  Status start_constraints();
  // Before the request is submitted, if it asks for one.
  void prepare_embedding(int64_t hidden_size);
  // Once, in order of arrival.
  void set_id(RequestId request_id, uint64_t default_seed);

  int64_t num_prompt() const { return static_cast<int64_t>(request.prompt.size()); }
  Sequence& leader() { return *sequences.front(); }
  // Sequences that will fork from the leader when it has computed the prompt.
  int32_t num_followers() const;
  // Its prompt has been computed for the first time; pages of its first num_published tokens are the prefix
  // cache's.
  void finish_prompt(int64_t num_published);

  const Request request;
  const PrefixNamespace prefix;  // that its pages are shared in
  const EndRules rules;
  const std::shared_ptr<RequestSink> sink;
  RequestId id = 0;
  PromptScores scores;
  EmbeddingPool embedding;
  std::vector<std::unique_ptr<Sequence>> sequences;
  int32_t num_unfinished = 0;
  int32_t num_preemptions = 0;
  int64_t arrival_ns = 0;
  int64_t first_scheduled_ns = -1;
  int64_t first_token_ns = -1;
  int64_t last_token_ns = -1;
  int64_t served_ns = 0;        // of steps that computed something of it
  int64_t last_served_ns = -1;  // the end of the last of them
  bool prompt_done = false;     // computed at least once
  // Of the prompt, as found when it was first scheduled.
  int64_t num_cached_tokens = 0;
  int64_t num_swapped_tokens = 0;    // of those: read from the store
  int64_t num_kept_tokens = 0;       // computed, in pages that the prefix cache has got
  int64_t num_reported_tokens = -1;  // of the prompt, that on_progress has told of
  bool queued = true;                // not started yet: the inbox counts its prompt
  bool parked = false;               // may not run: its client does not read
  Status status;                     // what on_done will say
};

}  // namespace pagoda
