// A skip-join multi-level feedback queue (FastServe, Wu et al., NSDI 2026), for machines on which prompts are
// much of the work, and with levels that learn:
//   - a sequence joins the first level whose quantum holds what it may take: what is left of its prompt after
//     the prefix hit, which is known, and an output as outputs have lately been (Gittins' index, see
//     OutputLengths); quanta double with every second level;
//   - it is judged by its own share of each step, not the whole step, and as it computes and generates it
//     moves to the level that its age then says: down where long outputs go on, up where they are about to
//     end;
//   - within a level clients take turns (start-time fair queueing, Goyal et al., 1996: a turn costs a
//     quantum); turns of one client are in order of arrival;
//   - one that has waited kPatience times as long as it would take by itself, and kBacklogs times as long as
//     it would have waited first come, first served, goes before all levels, for good (ages), in order of
//     arrival. For the longest few of a thousand that come the latter is kLongestAllowance times as long:
//     under overload somebody has to wait, and one of them takes the room of dozens. So no request takes
//     longer than the greater of both and then what came before it: where a limit on the slowdown alone would
//     promote everybody, most still go by their levels.
// A sequence takes the place of one that runs at a lower level and has not generated anything yet. One that
// generates keeps its place, unlike in FastServe, unless it is kGap levels lower and its pages are kept: it
// needs a token of each step, and what it loses is computed again.
#pragma once

#include <array>
#include <atomic>
#include <unordered_map>

#include "sched/longest_lately.h"
#include "sched/scheduler_policy.h"
#include "sched/sequence_heap.h"

namespace pagoda {

class MlfqPolicy final : public SchedulerPolicy {
 public:
  static constexpr std::string_view kName = "mlfq";
  static constexpr int32_t kNumLevels = kNumClasses;
  static constexpr int32_t kAged = -1;  // before all levels
  static constexpr double kPatience = 30;
  static constexpr double kBacklogs = 3;
  static constexpr double kLongestAllowance = 16;
  static constexpr int32_t kGap = 4;

  std::string_view name() const override { return kName; }
  void reserve(size_t num_sequences) override;
  void push(ScheduledSequence& sequence) override { queue_.push(sequence); }
  ScheduledSequence* first() override { return queue_.first(); }
  void remove(ScheduledSequence& sequence) override { queue_.remove(sequence); }
  void start(ScheduledSequence& sequence) override;
  void on_arrival(ScheduledSequence& sequence) override;
  void on_progress(ScheduledSequence& sequence, double seconds, int64_t now_ns) override;
  void on_finish(ScheduledSequence& sequence, int64_t now_ns) override;
  void advance(int64_t now_ns) override;
  bool before(const ScheduledSequence& a, const ScheduledSequence& b) const override {
    return HigherLevel{}(a, b);
  }
  bool preempts(const ScheduledSequence& waiting, const ScheduledSequence& running,
                Pages pages) const override {
    return waiting.level < num_place_takers(running, pages);
  }
  int32_t num_place_takers(const ScheduledSequence& running, Pages pages) const override {
    if (running.num_generated == 0) return running.level;
    return pages == Pages::kept ? running.level - kGap + 1 : kAged;
  }

  int32_t class_of(const ScheduledSequence& sequence) const override;
  int64_t due_ns(const ScheduledSequence& sequence) const override { return sequence.deadline_ns; }

  static double quantum_seconds(int32_t level);

 private:
  struct HigherLevel {
    bool operator()(const ScheduledSequence& a, const ScheduledSequence& b) const;
  };
  struct EarlierDeadline {
    bool operator()(const ScheduledSequence& a, const ScheduledSequence& b) const;
  };
  struct Client {
    std::array<double, kNumLevels> next_tag{};  // of its next turn, by level
    int64_t num_sequences = 0;
  };

  int32_t level_of(const ScheduledSequence& sequence) const;
  void join(ScheduledSequence& sequence, int32_t level);
  // Joins the level that what is known of it now says, unless it is there.
  void find_level(ScheduledSequence& sequence);
  int64_t deadline_of(const ScheduledSequence& sequence) const;

  SequenceHeap<HigherLevel, &ScheduledSequence::queue_place> queue_;
  // All sequences that have not aged, waiting or running.
  SequenceHeap<EarlierDeadline, &ScheduledSequence::deadline_place> deadlines_;
  std::unordered_map<uint64_t, Client> clients_;
  std::array<double, kNumLevels> time_{};  // by level: the tag of the latest to start
  // Of one that generates: its share of a step, compared to the same token by itself.
  std::atomic<double> token_share_ = 1;
  LongestLately longest_;
};

}  // namespace pagoda
