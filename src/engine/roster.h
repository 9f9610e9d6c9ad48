// All unfinished requests, and which of their sequences wait and which run.
//
// Invariant: the running sequences and the followers of those that have not forked yet take at most
// max_sequences places; each has a place, a block table or both to come.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/sequence.h"
#include "kv/kv_cache.h"
#include "sched/scheduler_policy.h"

namespace pagoda {

// Owned by the engine thread. Allocates when requests come, not while they run.
class Roster {
 public:
  Roster(KvCache& kv, SchedulerPolicy& policy, int32_t max_sequences, int32_t max_requests);

  void add(std::unique_ptr<RequestState> request, int64_t now_ns);
  RequestState* find(RequestId id);  // null if unknown
  void erase(RequestId id);          // all its sequences must have finished
  const std::unordered_map<RequestId, std::unique_ptr<RequestState>>& requests() const { return requests_; }

  // In order of the policy's rank, then by id, as of the last admit().
  std::span<Sequence* const> running() const { return running_; }
  std::span<Sequence* const> waiting() const { return waiting_; }

  // Ranks all sequences and lets waiting ones run, in order, while there are places and the pages that those
  // running will need for what they know so far stay available. The first may always run if nothing else
  // does. Passed over are parked ones, and those whose first tokens a running one is just computing.
  void admit(int64_t now_ns);
  // A running sequence gives up its pages and waits; what of them is gone by then will be computed again.
  void preempt(Sequence& sequence);
  // Until resumed, no sequence of the request runs.
  void park(RequestState& request);
  // Followers of a leader that has just computed the prompt get block tables of their own and run.
  void fork_followers(Sequence& leader, int64_t now_ns);
  // Gives up place and pages; its state becomes finished. Followers end after their leader.
  void finish(Sequence& sequence);

 private:
  void rank(std::vector<Sequence*>& sequences, int64_t now_ns);
  int32_t places(const Sequence& sequence) const;
  int64_t pages_to_come(const Sequence& sequence) const;
  int64_t pages_to_start(const Sequence& sequence, const PrefixHit& hit) const;
  bool should_wait_for_prefix(const Sequence& sequence, const PrefixHit& hit) const;
  // Sees whether a sequence that is being restored can go on, and from where.
  void resume(Sequence& sequence);
  void start(Sequence& sequence, int64_t now_ns);
  void stop(Sequence& sequence);
  void send_back(Sequence& sequence);

  KvCache& kv_;
  SchedulerPolicy& policy_;
  const int32_t max_sequences_;
  int32_t places_taken_ = 0;
  std::unordered_map<RequestId, std::unique_ptr<RequestState>> requests_;
  std::vector<Sequence*> running_;
  std::vector<Sequence*> waiting_;
};

}  // namespace pagoda
