#include "engine/roster.h"

#include <algorithm>

#include "base/check.h"

namespace pagoda {

Roster::Roster(KvCache& kv, SchedulerPolicy& policy, int32_t max_sequences, int32_t max_requests)
    : kv_(kv), policy_(policy), max_sequences_(max_sequences) {
  requests_.reserve(static_cast<size_t>(max_requests));
  running_.reserve(static_cast<size_t>(max_sequences));
  // Requests wait with their leader; besides, every running sequence may come back.
  waiting_.reserve(static_cast<size_t>(max_requests) + static_cast<size_t>(max_sequences));
}

void Roster::add(std::unique_ptr<RequestState> request, int64_t now_ns) {
  Sequence& leader = request->leader();
  policy_.on_arrival(leader.scheduled(), now_ns);
  waiting_.push_back(&leader);
  requests_.emplace(request->id, std::move(request));
}

RequestState* Roster::find(RequestId id) {
  const auto found = requests_.find(id);
  return found == requests_.end() ? nullptr : found->second.get();
}

void Roster::erase(RequestId id) {
  PAGODA_CHECK(find(id) != nullptr && find(id)->num_unfinished == 0, "request {}", id);
  requests_.erase(id);
}

void Roster::rank(std::vector<Sequence*>& sequences, int64_t now_ns) {
  for (Sequence* sequence : sequences) sequence->rank = policy_.rank(sequence->scheduled(), now_ns);
  std::ranges::sort(sequences, [](const Sequence* a, const Sequence* b) {
    return a->rank != b->rank ? a->rank < b->rank : a->id < b->id;
  });
}

int32_t Roster::places(const Sequence& sequence) const {
  return 1 + (sequence.index == 0 ? sequence.request.num_followers() : 0);
}

int64_t Roster::pages_to_come(const Sequence& sequence) const {
  // The token after those known counts, too: a sequence that just fits would be preempted in the next step.
  const int64_t length = sequence.num_known() + 1;
  const int64_t own = sequence.kv < 0 ? pages_for(length) : kv_.pages_needed(sequence.kv, length);
  return own + places(sequence) - 1;
}

void Roster::admit(int64_t now_ns) {
  rank(waiting_, now_ns);
  int64_t pages_left = kv_.num_free_pages();
  for (const Sequence* sequence : running_) pages_left -= pages_to_come(*sequence);
  for (Sequence* sequence : waiting_) {
    if (sequence->request.parked) continue;
    const int64_t pages = pages_to_come(*sequence);
    const bool fits = pages <= pages_left || running_.empty();
    if (!fits || places_taken_ + places(*sequence) > max_sequences_) break;
    start(*sequence, now_ns);
    pages_left -= pages;
  }
  std::erase_if(waiting_, [](const Sequence* s) { return s->state == SequenceState::running; });
  rank(running_, now_ns);
}

void Roster::start(Sequence& sequence, int64_t now_ns) {
  sequence.state = SequenceState::running;
  sequence.kv = kv_.create();
  running_.push_back(&sequence);
  places_taken_ += places(sequence);
  if (sequence.request.first_scheduled_ns < 0) sequence.request.first_scheduled_ns = now_ns;
}

void Roster::stop(Sequence& sequence) {
  std::erase(running_, &sequence);
  places_taken_ -= places(sequence);
  kv_.release(sequence.kv);
  sequence.kv = -1;
  sequence.num_computed = 0;
}

void Roster::send_back(Sequence& sequence) {
  stop(sequence);
  sequence.state = SequenceState::waiting;
  waiting_.push_back(&sequence);
}

void Roster::preempt(Sequence& sequence) {
  PAGODA_CHECK(sequence.state == SequenceState::running, "sequence {} does not run", sequence.id);
  send_back(sequence);
  ++sequence.request.num_preemptions;
}

void Roster::park(RequestState& request) {
  request.parked = true;
  for (const auto& sequence : request.sequences)
    if (sequence->state == SequenceState::running) send_back(*sequence);
}

void Roster::fork_followers(Sequence& leader, int64_t now_ns) {
  for (const auto& follower : leader.request.sequences) {
    if (follower->state != SequenceState::follower) continue;
    follower->kv = kv_.fork(leader.kv);
    follower->num_computed = leader.num_computed;
    follower->state = SequenceState::running;
    policy_.on_arrival(follower->scheduled(), now_ns);
    running_.push_back(follower.get());
  }
}

void Roster::finish(Sequence& sequence) {
  if (sequence.state == SequenceState::finished) return;
  // The leader's place counts those of its followers.
  const bool place_is_settled =
      sequence.state != SequenceState::follower || sequence.request.leader().state == SequenceState::finished;
  PAGODA_CHECK(place_is_settled, "follower {} ends before its leader", sequence.id);
  if (sequence.state == SequenceState::running) stop(sequence);
  if (sequence.state == SequenceState::waiting) std::erase(waiting_, &sequence);
  sequence.state = SequenceState::finished;
  policy_.on_finish(sequence.id);
  --sequence.request.num_unfinished;
}

}  // namespace pagoda
