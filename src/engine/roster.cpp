#include "engine/roster.h"

#include <algorithm>

#include "base/check.h"

namespace pagoda {

namespace {

// Less than a page is not shared.
constexpr int64_t kLeastSharedTokens = kPageTokens;
// Looking for the like of a waiting sequence costs a look at each running one.
constexpr int32_t kMostHeldBack = 64;

int64_t shared_tokens(const Sequence& a, const Sequence& b, int64_t limit) {
  int64_t position = 0;
  while (position < limit && a.token(position) == b.token(position)) ++position;
  return position;
}

}  // namespace

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
  return kv_.pages_needed(sequence.kv, length) + places(sequence) - 1;
}

int64_t Roster::pages_to_start(const Sequence& sequence, const PrefixHit& hit) const {
  // Pages that nobody else uses come out of the available ones, whether they are known or not.
  return pages_for(sequence.num_known() + 1) - hit.num_held_pages + places(sequence) - 1;
}

// Another computes what this one would compute, too; its pages will be there sooner than a second set of
// them.
bool Roster::should_wait_for_prefix(const Sequence& sequence, const PrefixHit& hit) const {
  const int64_t worth_waiting_for = hit.num_tokens() + kLeastSharedTokens;
  if (sequence.max_cached() < worth_waiting_for) return false;
  return std::ranges::any_of(running_, [&](const Sequence* other) {
    if (other->num_remaining() <= 1 || other->request.prefix != sequence.request.prefix) return false;
    const int64_t limit = std::min(other->num_known(), sequence.max_cached());
    return limit >= worth_waiting_for && shared_tokens(sequence, *other, limit) >= worth_waiting_for;
  });
}

void Roster::admit(int64_t now_ns) {
  rank(waiting_, now_ns);
  int64_t pages_left = kv_.num_available_pages();
  for (Sequence* sequence : running_) {
    if (sequence->restoring) resume(*sequence);
    pages_left -= pages_to_come(*sequence);
  }
  int32_t num_held_back = 0;
  for (Sequence* sequence : waiting_) {
    if (sequence->request.parked) continue;
    const int32_t wanted = places(*sequence);
    if (places_taken_ + wanted > max_sequences_ ||
        places_taken_ + wanted + kv_.num_closing() > kv_.max_tables())
      break;
    const PrefixHit hit = kv_.peek(sequence->request.prefix, SequenceKeys(*sequence), sequence->max_cached());
    const int64_t pages = pages_to_start(*sequence, hit);
    if (pages > pages_left && !running_.empty()) break;
    if (num_held_back < kMostHeldBack && should_wait_for_prefix(*sequence, hit)) {
      ++num_held_back;
      continue;
    }
    start(*sequence, now_ns);
    pages_left -= pages;
  }
  std::erase_if(waiting_, [](const Sequence* s) { return s->state == SequenceState::running; });
  rank(running_, now_ns);
}

void Roster::start(Sequence& sequence, int64_t now_ns) {
  RequestState& request = sequence.request;
  sequence.state = SequenceState::running;
  sequence.kv = kv_.create(request.prefix);
  const PrefixHit hit = kv_.attach(sequence.kv, SequenceKeys(sequence), sequence.max_cached());
  sequence.num_computed = hit.num_tokens();
  sequence.restoring = true;
  running_.push_back(&sequence);
  places_taken_ += places(sequence);
  if (request.first_scheduled_ns < 0) {
    request.first_scheduled_ns = now_ns;
    request.num_cached_tokens = hit.num_tokens();
    request.num_swapped_tokens = hit.num_swapped;
  }
  resume(sequence);
}

void Roster::resume(Sequence& sequence) {
  sequence.restoring = !kv_.settle(sequence.kv);
  const int64_t lost = sequence.num_computed - kv_.length(sequence.kv);
  if (lost == 0) return;
  sequence.num_computed -= lost;
  RequestState& request = sequence.request;
  if (request.prompt_done) return;
  request.num_cached_tokens -= lost;
  request.num_swapped_tokens -= lost;
}

void Roster::stop(Sequence& sequence) {
  std::erase(running_, &sequence);
  places_taken_ -= places(sequence);
  kv_.release(sequence.kv);
  sequence.kv = -1;
  sequence.num_computed = 0;
  sequence.restoring = false;
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
