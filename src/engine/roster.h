// All unfinished requests, and which of their sequences wait and which run.
//
// Invariant: the running sequences and the followers of those that have not forked yet take at most
// max_sequences places; each has a place, a block table or both to come. The policy's queue holds those that
// wait and are not parked.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/sequence.h"
#include "kv/kv_cache.h"
#include "sched/arriving_work.h"
#include "sched/cost_model.h"
#include "sched/scheduler_policy.h"
#include "sched/step_pace.h"

namespace pagoda {

// Owned by the engine thread. Allocates when requests come, not while they run.
class Roster {
 public:
  // `costs`, `pace` and `policy` must outlive it.
  Roster(KvCache& kv, SchedulerPolicy& policy, const CostModel& costs, const StepPace& pace,
         int32_t max_sequences, int32_t max_requests);

  void add(std::unique_ptr<RequestState> request);
  RequestState* find(RequestId id);  // null if unknown
  // All its sequences must have finished.
  void erase(RequestId id);
  const std::unordered_map<RequestId, std::unique_ptr<RequestState>>& requests() const { return requests_; }

  // In the policy's order, as of the last admit().
  std::span<Sequence* const> running() const { return running_; }
  // In no order.
  std::span<Sequence* const> waiting() const { return waiting_; }
  int64_t num_parked() const { return num_parked_; }
  // What is still to be done, in steps of at most max_seconds (0: no bound).
  QueuedWork queued_work(double max_seconds) const;
  // Preemptions so far.
  int64_t num_preemptions() const { return num_preemptions_; }

  // Lets waiting sequences run, in the policy's order, while there are places and the pages that those
  // running will need for what they know so far stay available; where the policy says so, in place of running
  // ones, which are preempted. The first may always run if nothing else does. Passed over are parked ones,
  // and those whose first tokens a running one is just computing. Of the places at most max_running are used,
  // but at least one. Costs O(log n) of those that wait for each one looked at.
  void admit(int64_t now_ns, int32_t max_running = INT32_MAX);
  // FastServe's proactive swapping. Estimates anew when those that were preempted will run again (until
  // then, what runs last gives up its pages first), and begins to read what they will need from the store,
  // the first to run first, in half of the time that a step of at most max_seconds gives the disk. As many
  // pages stay free as sequences have lately taken at once to start.
  void fetch_ahead(double max_seconds);
  // A running sequence gives up its pages and waits; what of them is gone by then will be computed again.
  void preempt(Sequence& sequence);
  // Until resumed, no sequence of the request runs.
  void park(RequestState& request);
  void unpark(RequestState& request);
  // Followers of a leader that has just computed the prompt get block tables of their own and run.
  void fork_followers(Sequence& leader);
  // It has computed tokens in a step that has just ended, and answers for that part of the step's predicted
  // time.
  void advance(Sequence& sequence, double seconds, int64_t now_ns);
  // Gives up place and pages; its state becomes finished. Followers end after their leader.
  void finish(Sequence& sequence, int64_t now_ns);

 private:
  // Of all that wait in a class. What is expected of outputs that have not begun changes with each one that
  // ends: they are only counted.
  struct WaitingWork {
    int64_t num_sequences = 0;
    double prompt_seconds = 0;
    double begun_tokens = 0;  // expected of outputs that have begun
    int64_t num_new = 0;      // outputs that have not,
    int64_t max_tokens = 0;   // and what they may get together
  };

  void order_running();
  int32_t places(const Sequence& sequence) const;
  int64_t pages_to_come(const Sequence& sequence) const;
  int64_t pages_to_start(const Sequence& sequence, const PrefixHit& hit) const;
  int64_t pages_left() const;
  bool should_wait_for_prefix(const Sequence& sequence, const PrefixHit& hit) const;
  // Tokens that may come from the cache: those of the store only if they come sooner than they are computed.
  int64_t most_cached(const Sequence& sequence) const;
  bool is_worth_reading(const PrefixHit& hit) const;
  PrefixHit peek(const Sequence& sequence) const;
  // What the policy sees of the work before it.
  void estimate(Sequence& sequence, const PrefixHit& hit) const;
  // How many of the last running sequences must go for that many places and pages; none if the policy does
  // not allow that many.
  std::optional<size_t> victims_for(const Sequence& sequence, int64_t places, int64_t pages) const;
  // Pages of one that gives up its place are kept for it, as far as there is room.
  void await_return(Sequence& sequence);
  void forget_return(Sequence& sequence);
  // When one that waits will run, in seconds of the clock: after the work of its class and higher ones.
  double expected_start(const Sequence& sequence, const QueuedWork& work) const;
  bool comes_back_from_store(const Sequence& victim) const;
  // Preempts the last running ones and lets it run; false if that has not given it its pages.
  bool start_in_place_of(size_t num_victims, Sequence& sequence, int64_t num_pages, int64_t now_ns);
  // Looks again at the prefix hits of some that wait.
  void refresh_hits();
  // Sees whether a sequence that is being restored can go on, and from where.
  void resume(Sequence& sequence);
  void start(Sequence& sequence, int64_t now_ns);
  // Its table has been released.
  void leave_place(Sequence& sequence);
  void send_back(Sequence& sequence);
  double waiting_seconds(const WaitingWork& work) const;
  // What becomes of the pages of the last that runs, if it gives up its place and `unused` ones will not be
  // needed then.
  SchedulerPolicy::Pages pages_of_victim(const Sequence& victim, int64_t unused) const;
  // Expected of what the sequence, and those that will fork from it, have left to generate.
  double left_tokens(const Sequence& sequence) const;
  // Predicted for one token of a sequence that generates among others.
  double seconds_per_token() const;
  // That pass until all that is here is done.
  double backlog_seconds() const;
  void add_waiting(Sequence& sequence);
  void remove_waiting(Sequence& sequence);

  KvCache& kv_;
  SchedulerPolicy& policy_;
  const CostModel& costs_;
  const StepPace& pace_;
  const int32_t max_sequences_;
  int32_t places_taken_ = 0;
  int64_t now_ns_ = 0;  // of the last admit()
  std::unordered_map<RequestId, std::unique_ptr<RequestState>> requests_;
  std::vector<Sequence*> running_;
  std::vector<Sequence*> waiting_;  // parked ones included
  int64_t num_parked_ = 0;
  int64_t num_preemptions_ = 0;
  int64_t num_left_pages_ = 0;  // of those that were preempted and wait; as many as there were
  std::array<WaitingWork, kNumClasses> waiting_work_{};  // by class
  ArrivingWork arriving_work_;
  double seconds_per_token_ = 0;  // of a sequence that generates, moving average; 0: none has
  size_t next_refreshed_ = 0;
  std::vector<Sequence*> held_back_;  // of one admit()
  std::vector<Sequence*> returning_;  // waiting sequences whose pages are awaited
  double usual_burst_ = 0;            // pages that sequences took to start within one step, lately
};

}  // namespace pagoda
