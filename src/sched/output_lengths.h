// How long outputs have lately been, and what an age says about the rest of one. Nobody knows the length of
// an answer before it ends, but lengths of many answers are known: whether one that has come so far is likely
// to end soon (short answers with few exceptions), to go on as long again (heavy tails), or both in turn.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace pagoda {

// What is known of a request whose output has not ended; seconds are predictions of the cost model.
struct UnfinishedWork {
  double prompt_seconds = 0;  // of its whole prompt, by itself: what counts for how short it is
  double left_seconds = 0;    // of what is left of the prompt
  double token_seconds = 0;   // of one more token
  int64_t num_generated = 0;
  int64_t most_generated = INT64_MAX;  // what the client allows: an output that would be longer ends there
};

// A histogram over lengths, each bucket a seventh longer than the one before, that forgets: an output counts
// e times less after kMemory others. Of those that were cut only the age is known that they reached (Kaplan
// and Meier, J. Am. Stat. Assoc. 53, 1958, by buckets: a life table). Before anything is known, every bucket
// is as likely as the next, so that what has generated long is expected to go on for long. Written by one
// thread; the const functions may be called from any.
class OutputLengths {
 public:
  static constexpr double kMemory = 1000;  // outputs

  OutputLengths();

  // How an output came to its end: one that was cut at its client's limit only says that it would have been
  // longer.
  enum class End : uint8_t { by_itself, cut };

  // An output of that many tokens has ended.
  void add(int64_t num_tokens, End end = End::by_itself);
  // Gittins' index (J. R. Statist. Soc. B 41, 1979) for the mean slowdown, as the length of the work of known
  // length with the same index, in seconds: smaller goes first. The index is the most, over all amounts of
  // service, of the slowdown saved (1 / seconds of its whole work, if it ends within that service) by the
  // service to be expected; among works of unknown lengths with a known distribution its order gives the best
  // mean there is for one server.
  double index_seconds(const UnfinishedWork& work) const;
  // How many tokens an output that has come so far has still to come on average, at least one, where it gets
  // at most `most` more. Of one older than all that were seen, as many again as it has. On the thread that
  // writes.
  double expected_left(int64_t num_generated, int64_t most) const;
  // How many tokens must have been generated before the age says anything new.
  static int64_t next_age(int64_t num_generated);

 private:
  static constexpr size_t kNumBuckets = 80;  // up to 75,693 tokens
  using Buckets = std::array<int64_t, kNumBuckets>;
  static const Buckets kLongest;  // of each bucket

  static size_t bucket_of(int64_t num_tokens);
  static double middle_of(size_t bucket);
  // The share of all outputs that ends in each bucket, where each is ended by `guess` besides; last, the
  // share of which no end is known.
  std::array<double, kNumBuckets + 1> life_table(double guess) const;
  void publish();

  std::array<double, kNumBuckets> weights_{};  // of outputs that have ended by themselves
  std::array<double, kNumBuckets> cut_{};      // of those that were cut
  double guess_;                               // of those that the first guess counts, all buckets together
  double newest_ = 1;                          // weight of the next output
  // Of all that were seen, without the guess: the weight of those that reached a bucket; the share of all
  // outputs that end there or later or never, and of those that end that share times tokens.
  std::array<double, kNumBuckets + 1> reached_{};
  std::array<double, kNumBuckets + 1> share_from_{};
  std::array<double, kNumBuckets + 1> tokens_from_{};
  std::array<std::atomic<double>, kNumBuckets> share_{};  // of all outputs, with the guess, for readers
};

}  // namespace pagoda
