#include "engine/roster.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "sched/moving_average.h"

namespace pagoda {

namespace {

// Less than a page is not shared.
constexpr int64_t kLeastSharedTokens = kPageTokens;
// Looking for the like of a waiting sequence costs a look at each running one.
constexpr size_t kMostHeldBack = 64;

// Of the usual token.
constexpr double kNewest = 1.0 / 16;

int64_t shared_tokens(const Sequence& a, const Sequence& b, int64_t limit) {
  int64_t position = 0;
  while (position < limit && a.token(position) == b.token(position)) ++position;
  return position;
}

}  // namespace

Roster::Roster(KvCache& kv, SchedulerPolicy& policy, const CostModel& costs, const StepPace& pace,
               int32_t max_sequences, int32_t max_requests)
    : kv_(kv), policy_(policy), costs_(costs), pace_(pace), max_sequences_(max_sequences) {
  const auto num_places = static_cast<size_t>(max_sequences);
  requests_.reserve(static_cast<size_t>(max_requests));
  running_.reserve(num_places);
  // Requests wait with their leader; besides, every running sequence may come back.
  waiting_.reserve(static_cast<size_t>(max_requests) + num_places);
  held_back_.reserve(kMostHeldBack);
  returning_.reserve(waiting_.capacity());
  policy_.reserve(static_cast<size_t>(max_requests) + num_places);
}

void Roster::add(std::unique_ptr<RequestState> request) {
  Sequence& leader = request->leader();
  estimate(leader, peek(leader));
  leader.alone_seconds = leader.prefill_seconds;
  leader.backlog_seconds = backlog_seconds();
  policy_.on_arrival(leader);
  arriving_work_.add(policy_.class_of(leader),
                     leader.prefill_seconds + left_tokens(leader) * seconds_per_token(), leader.arrival_ns);
  requests_.emplace(request->id, std::move(request));
  add_waiting(leader);
}

RequestState* Roster::find(RequestId id) {
  const auto found = requests_.find(id);
  return found == requests_.end() ? nullptr : found->second.get();
}

void Roster::erase(RequestId id) {
  PAGODA_CHECK(find(id) != nullptr && find(id)->num_unfinished == 0, "request {}", id);
  requests_.erase(id);
}

void Roster::order_running() {
  std::ranges::sort(running_, [&](const Sequence* a, const Sequence* b) { return policy_.before(*a, *b); });
}

void Roster::add_waiting(Sequence& sequence) {
  sequence.waiting_place = waiting_.size();
  waiting_.push_back(&sequence);
  sequence.queued_class = policy_.class_of(sequence);
  sequence.queued_seconds = sequence.prefill_seconds;
  WaitingWork& work = waiting_work_[static_cast<size_t>(sequence.queued_class)];
  ++work.num_sequences;
  work.prompt_seconds += sequence.queued_seconds;
  if (sequence.num_generated > 0) {
    sequence.queued_tokens = left_tokens(sequence);
    work.begun_tokens += sequence.queued_tokens;
  } else {
    work.num_new += places(sequence);
    work.max_tokens += places(sequence) * sequence.max_generated;
  }
  if (sequence.request.parked)
    ++num_parked_;
  else
    policy_.push(sequence);
}

void Roster::remove_waiting(Sequence& sequence) {
  num_left_pages_ -= std::exchange(sequence.num_left_pages, 0);
  waiting_[sequence.waiting_place] = waiting_.back();
  waiting_[sequence.waiting_place]->waiting_place = sequence.waiting_place;
  waiting_.pop_back();
  WaitingWork& work = waiting_work_[static_cast<size_t>(sequence.queued_class)];
  work.prompt_seconds -= sequence.queued_seconds;
  if (sequence.num_generated > 0) {
    work.begun_tokens -= sequence.queued_tokens;
  } else {
    work.num_new -= places(sequence);
    work.max_tokens -= places(sequence) * sequence.max_generated;
  }
  // No sum keeps what rounding has left.
  if (--work.num_sequences == 0) work = {};
}

double Roster::seconds_per_token() const {
  return seconds_per_token_ > 0 ? seconds_per_token_ : costs_.predict_alone({0, 1, 1});
}

double Roster::left_tokens(const Sequence& sequence) const {
  return places(sequence) * policy_.output_lengths().expected_left(
                                sequence.num_generated, sequence.max_generated - sequence.num_generated);
}

double Roster::waiting_seconds(const WaitingWork& work) const {
  if (work.num_sequences == 0) return 0;
  double tokens = std::max(work.begun_tokens, 0.0);
  if (work.num_new > 0)
    tokens += static_cast<double>(work.num_new) *
              policy_.output_lengths().expected_left(0, work.max_tokens / work.num_new);
  return std::max(work.prompt_seconds, 0.0) + tokens * seconds_per_token();
}

double Roster::backlog_seconds() const {
  double seconds = 0;
  for (const WaitingWork& work : waiting_work_) seconds += waiting_seconds(work);
  for (const Sequence* sequence : running_)
    seconds += sequence->prefill_seconds + left_tokens(*sequence) * seconds_per_token();
  return pace_.seconds() * seconds;
}

QueuedWork Roster::queued_work(double max_seconds) const {
  QueuedWork work;
  for (size_t i = 0; i < waiting_work_.size(); ++i)
    work.waiting_seconds[i] = waiting_seconds(waiting_work_[i]);
  StepWork decodes;
  double left = 0;
  for (const Sequence* sequence : running_) {
    work.prompt_seconds[static_cast<size_t>(policy_.class_of(*sequence))] += sequence->prefill_seconds;
    left += left_tokens(*sequence) * seconds_per_token();
    if (sequence->num_generated > 0) decodes.add({sequence->num_known(), 1, 1}, costs_.reach());
  }
  work.decode_seconds = decodes.num_sequences > 0 ? costs_.predict(decodes) : 0;
  work.max_step_seconds = max_seconds;
  work.pace = pace_.seconds();
  work.arriving_share = arriving_work_.shares(now_ns_);
  // They end one after the other, evenly until all are gone.
  if (places_taken_ >= max_sequences_) {
    work.place_seconds = left / static_cast<double>(running_.size());
    const Sequence& last = *running_.back();
    work.num_place_takers =
        policy_.num_place_takers(last, pages_of_victim(last, pages_left() + pages_to_come(last)));
  }
  return work;
}

PrefixHit Roster::peek(const Sequence& sequence) const {
  PrefixHit hit = kv_.peek(sequence.request.prefix, SequenceKeys(sequence), sequence.max_cached());
  if (!is_worth_reading(hit)) hit.num_swapped = 0;
  return hit;
}

bool Roster::is_worth_reading(const PrefixHit& hit) const {
  return hit.num_swapped == 0 || kv_.prefix_cache().read_seconds(hit.num_swapped) <=
                                     costs_.predict_alone({hit.num_resident, hit.num_swapped, 0});
}

int64_t Roster::most_cached(const Sequence& sequence) const {
  const int64_t most = sequence.max_cached();
  // Known only where there is a store that has read something.
  if (kv_.prefix_cache().read_seconds(1) == 0) return most;
  const PrefixHit hit = kv_.peek(sequence.request.prefix, SequenceKeys(sequence), most);
  return is_worth_reading(hit) ? most : hit.num_resident;
}

void Roster::estimate(Sequence& sequence, const PrefixHit& hit) const {
  const int64_t known = sequence.num_known();
  const int64_t begin = sequence.state == SequenceState::running
                            ? sequence.num_computed
                            : kv_.length_with_tail(hit.num_tokens(), sequence.tail, sequence.max_cached());
  sequence.token_seconds = costs_.predict_alone({known, 1, 1});
  sequence.prefill_seconds = begin < known ? costs_.predict_alone({begin, known - begin, 1}) : 0;
  sequence.saved_seconds = begin > 0 ? costs_.predict_alone({0, begin, 0}) : 0;
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

int64_t Roster::pages_left() const {
  int64_t left = kv_.num_available_pages();
  for (const Sequence* sequence : running_) left -= pages_to_come(*sequence);
  return left;
}

std::optional<size_t> Roster::victims_for(const Sequence& sequence, int64_t places_wanted,
                                          int64_t pages_wanted) const {
  size_t num_victims = 0;
  int64_t unused = -pages_wanted;  // by anybody that runs, were this one among them
  while (places_wanted > 0 || pages_wanted > 0) {
    if (num_victims == running_.size()) return std::nullopt;
    const Sequence& victim = *running_[running_.size() - 1 - num_victims];
    unused += pages_to_come(victim);
    if (!policy_.preempts(sequence, victim, pages_of_victim(victim, unused))) return std::nullopt;
    places_wanted -= places(victim);
    pages_wanted -= std::ssize(kv_.page_table(victim.kv)) + pages_to_come(victim);
    ++num_victims;
  }
  return num_victims;
}

SchedulerPolicy::Pages Roster::pages_of_victim(const Sequence& victim, int64_t unused) const {
  const bool kept = unused >= num_left_pages_ || comes_back_from_store(victim);
  return kept ? SchedulerPolicy::Pages::kept : SchedulerPolicy::Pages::may_be_lost;
}

bool Roster::comes_back_from_store(const Sequence& victim) const {
  const PrefixHit stored{.num_swapped = victim.num_known()};
  return kv_.prefix_cache().read_seconds(1) > 0 && is_worth_reading(stored);
}

bool Roster::start_in_place_of(size_t num_victims, Sequence& sequence, int64_t num_pages, int64_t now_ns) {
  for (size_t i = 0; i < num_victims; ++i) preempt(*running_.back());
  // Pages that victims share with others have not become free.
  if (num_victims > 0 && !running_.empty() && num_pages > pages_left()) return false;
  policy_.start(sequence);
  remove_waiting(sequence);
  start(sequence, now_ns);
  return true;
}

void Roster::refresh_hits() {
  constexpr size_t kMostRefreshed = 16;
  for (size_t i = 0; i < std::min(kMostRefreshed, waiting_.size()); ++i) {
    Sequence& sequence = *waiting_[next_refreshed_++ % waiting_.size()];
    if (sequence.request.parked) continue;
    policy_.remove(sequence);
    estimate(sequence, peek(sequence));
    policy_.push(sequence);
  }
}

void Roster::admit(int64_t now_ns, int32_t max_running) {
  now_ns_ = now_ns;
  double burst = 0;
  policy_.advance(now_ns);
  if (policy_.orders_by_prefix()) refresh_hits();
  for (Sequence* sequence : running_)
    if (sequence->restoring) resume(*sequence);
  order_running();
  held_back_.clear();
  while (ScheduledSequence* first = policy_.first()) {
    auto& sequence = static_cast<Sequence&>(*first);
    // Tables that close are still in use.
    if (places_taken_ + places(sequence) + kv_.num_closing() > kv_.max_tables()) break;
    const int64_t places_wanted =
        int64_t{places_taken_} + places(sequence) - std::min(max_running, max_sequences_);
    // Without a place there is no need to look for its pages.
    const int64_t left = pages_left();
    if (!running_.empty() && !victims_for(sequence, places_wanted, -left)) break;
    const PrefixHit hit = peek(sequence);
    const int64_t num_pages = pages_to_start(sequence, hit);
    const auto num_victims =
        running_.empty() ? std::optional<size_t>(0) : victims_for(sequence, places_wanted, num_pages - left);
    if (!num_victims) break;
    if (held_back_.size() < kMostHeldBack && should_wait_for_prefix(sequence, hit)) {
      policy_.remove(sequence);
      held_back_.push_back(&sequence);
      continue;
    }
    if (!start_in_place_of(*num_victims, sequence, num_pages, now_ns)) break;
    burst += static_cast<double>(num_pages);
  }
  constexpr double kFading = 0.99;
  usual_burst_ = std::max(burst, kFading * usual_burst_);
  for (Sequence* sequence : held_back_) policy_.push(*sequence);
}

void Roster::start(Sequence& sequence, int64_t now_ns) {
  RequestState& request = sequence.request;
  sequence.state = SequenceState::running;
  sequence.kv = kv_.create(request.prefix);
  const PrefixHit hit = kv_.attach(sequence.kv, SequenceKeys(sequence), most_cached(sequence));
  kv_.restore_tail(sequence.kv, std::exchange(sequence.tail, kNoTail), sequence.max_cached());
  sequence.num_computed = kv_.length(sequence.kv);
  sequence.restoring = true;
  const auto place = std::ranges::upper_bound(
      running_, &sequence, [&](const Sequence* x, const Sequence* y) { return policy_.before(*x, *y); });
  running_.insert(place, &sequence);
  places_taken_ += places(sequence);
  if (request.first_scheduled_ns < 0) {
    request.first_scheduled_ns = now_ns;
    request.num_cached_tokens = hit.num_tokens();
    request.num_swapped_tokens = hit.num_swapped;
  }
  forget_return(sequence);
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

void Roster::leave_place(Sequence& sequence) {
  std::erase(running_, &sequence);
  places_taken_ -= places(sequence);
  sequence.kv = -1;
  sequence.num_computed = 0;
  sequence.restoring = false;
}

void Roster::send_back(Sequence& sequence) {
  sequence.tail = kv_.release_until_return(sequence.kv);
  leave_place(sequence);
  sequence.state = SequenceState::waiting;
  estimate(sequence, peek(sequence));
  add_waiting(sequence);
}

void Roster::preempt(Sequence& sequence) {
  PAGODA_CHECK(sequence.state == SequenceState::running, "sequence {} does not run", sequence.id);
  sequence.num_left_pages = sequence.num_computed / kPageTokens;
  num_left_pages_ += sequence.num_left_pages;
  send_back(sequence);
  await_return(sequence);
  ++sequence.request.num_preemptions;
  ++num_preemptions_;
}

void Roster::await_return(Sequence& sequence) {
  const double when = expected_start(sequence, queued_work(0));
  sequence.returning =
      kv_.await_return(sequence.request.prefix, SequenceKeys(sequence), sequence.max_cached(), when);
  if (sequence.returning != kNoReturn) returning_.push_back(&sequence);
}

void Roster::forget_return(Sequence& sequence) {
  if (sequence.returning == kNoReturn) return;
  if (kv_.prefix_cache().is_awaited(sequence.returning)) kv_.forget_return(sequence.returning);
  sequence.returning = kNoReturn;
  std::erase(returning_, &sequence);
}

double Roster::expected_start(const Sequence& sequence, const QueuedWork& work) const {
  const double wait = forecast(work, policy_.class_of(sequence), 0).queue_seconds;
  return 1e-9 *
         static_cast<double>(std::min<int64_t>(now_ns_ + std::llround(1e9 * wait), policy_.due_ns(sequence)));
}

void Roster::fetch_ahead(double max_seconds) {
  // Room was needed for what runs.
  std::erase_if(returning_, [&](Sequence* sequence) {
    const bool gone = !kv_.prefix_cache().is_awaited(sequence->returning);
    if (gone) sequence->returning = kNoReturn;
    return gone;
  });
  if (returning_.empty()) return;
  const QueuedWork work = queued_work(max_seconds);
  for (Sequence* sequence : returning_) {
    sequence->expected_start = expected_start(*sequence, work);
    kv_.expect_return(sequence->returning, sequence->expected_start);
  }
  const double queued_reads = kv_.prefix_cache().read_seconds(0);
  const double page_seconds = kv_.prefix_cache().read_seconds(kPageTokens) - queued_reads;
  if (page_seconds <= 0) return;
  constexpr double kShareOfDisk = 0.5;  // the rest is for prompts that are known, and for writing
  constexpr double kUnboundedStep = 0.1;
  const double seconds = kShareOfDisk * (max_seconds > 0 ? max_seconds : kUnboundedStep);
  auto num_pages = static_cast<int32_t>((seconds - queued_reads) / page_seconds);
  std::ranges::sort(returning_, {}, &Sequence::expected_start);
  for (Sequence* sequence : returning_) {
    if (num_pages <= 0) return;
    if (!comes_back_from_store(*sequence)) continue;
    num_pages -= kv_.prefetch(sequence->returning, num_pages, static_cast<int32_t>(usual_burst_));
  }
}

void Roster::park(RequestState& request) {
  if (std::exchange(request.parked, true)) return;
  for (const auto& sequence : request.sequences) {
    if (sequence->state == SequenceState::running) {
      send_back(*sequence);
    } else if (sequence->state == SequenceState::waiting) {
      policy_.remove(*sequence);
      forget_return(*sequence);
      ++num_parked_;
    }
  }
}

void Roster::unpark(RequestState& request) {
  if (!std::exchange(request.parked, false)) return;
  for (const auto& sequence : request.sequences) {
    if (sequence->state != SequenceState::waiting) continue;
    --num_parked_;
    policy_.push(*sequence);
  }
}

void Roster::fork_followers(Sequence& leader) {
  for (const auto& follower : leader.request.sequences) {
    if (follower->state != SequenceState::follower) continue;
    follower->kv = kv_.fork(leader.kv);
    follower->num_computed = leader.num_computed;
    follower->state = SequenceState::running;
    follower->alone_seconds = leader.alone_seconds;
    estimate(*follower, {});
    policy_.on_arrival(*follower);
    running_.push_back(follower.get());
  }
}

void Roster::advance(Sequence& sequence, double seconds, int64_t now_ns) {
  if (sequence.num_generated > 0) move_average(seconds_per_token_, seconds, kNewest);
  estimate(sequence, {});
  policy_.on_progress(sequence, seconds, now_ns);
}

void Roster::finish(Sequence& sequence, int64_t now_ns) {
  if (sequence.state == SequenceState::finished) return;
  // The leader's place counts those of its followers.
  const bool place_is_settled =
      sequence.state != SequenceState::follower || sequence.request.leader().state == SequenceState::finished;
  PAGODA_CHECK(place_is_settled, "follower {} ends before its leader", sequence.id);
  if (sequence.state == SequenceState::running) {
    kv_.release(sequence.kv);
    leave_place(sequence);
  }
  const bool has_arrived = sequence.state != SequenceState::follower;
  if (sequence.state == SequenceState::waiting) {
    remove_waiting(sequence);
    forget_return(sequence);
    kv_.drop_tail(std::exchange(sequence.tail, kNoTail));
    if (sequence.request.parked)
      --num_parked_;
    else
      policy_.remove(sequence);
  }
  sequence.state = SequenceState::finished;
  if (sequence.num_generated > 0)
    policy_.output_lengths().add(sequence.num_generated, sequence.num_generated < sequence.max_generated
                                                             ? OutputLengths::End::by_itself
                                                             : OutputLengths::End::cut);
  if (has_arrived) policy_.on_finish(sequence, now_ns);
  --sequence.request.num_unfinished;
}

}  // namespace pagoda
