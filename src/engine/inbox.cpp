#include "engine/inbox.h"

#include <utility>

#include "base/check.h"
#include "sample/philox.h"

namespace pagoda {

Inbox::Inbox(int32_t max_unfinished, uint64_t seed, int64_t max_queued_tokens)
    : max_unfinished_(max_unfinished), seed_(seed), max_queued_tokens_(max_queued_tokens) {
  mail_.arrivals.reserve(static_cast<size_t>(max_unfinished));
  mail_.cancels.reserve(static_cast<size_t>(max_unfinished));
  mail_.flow_changes.reserve(static_cast<size_t>(max_unfinished));
}

Result<RequestId> Inbox::push(std::unique_ptr<RequestState> request) {
  RequestId id = 0;
  {
    std::lock_guard lock(mutex_);
    const int64_t num_prompt = request->num_prompt();
    if (closed_) {
      ++rejections_.closed;
      return fail(ErrorCode::overloaded, "the server is shutting down and accepts no more requests");
    }
    if (num_unfinished_ >= max_unfinished_) {
      ++rejections_.queue_full;
      return fail(ErrorCode::overloaded, "{} requests are being served or waiting already; try again later",
                  num_unfinished_);
    }
    const bool too_long = num_queued_tokens_ > 0 && num_queued_tokens_ + num_prompt > max_queued_tokens_;
    if (max_queued_tokens_ > 0 && too_long) {
      ++rejections_.queued_tokens;
      return fail(
          ErrorCode::overloaded,
          "prompts of {} tokens are waiting already, and {} more exceed the limit of {}; try again later",
          num_queued_tokens_, num_prompt, max_queued_tokens_);
    }
    num_queued_tokens_ += num_prompt;
    id = ++last_id_;
    request->set_id(id, derive_seed(seed_, id));
    mail_.arrivals.push_back(std::move(request));
    ++num_unfinished_;
  }
  mail_came_.notify_one();
  return id;
}

void Inbox::cancel(RequestId id) {
  {
    std::lock_guard lock(mutex_);
    mail_.cancels.push_back(id);
  }
  mail_came_.notify_one();
}

void Inbox::change_flow(FlowChange change) {
  {
    std::lock_guard lock(mutex_);
    mail_.flow_changes.push_back(change);
  }
  mail_came_.notify_one();
}

void Inbox::cancel_all() {
  {
    std::lock_guard lock(mutex_);
    mail_.cancel_all = true;
  }
  mail_came_.notify_one();
}

void Inbox::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
}

void Inbox::stop() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    stopped_ = true;
  }
  mail_came_.notify_all();
}

int64_t Inbox::num_unfinished() const {
  std::lock_guard lock(mutex_);
  return num_unfinished_;
}

Inbox::Rejections Inbox::rejections() const {
  std::lock_guard lock(mutex_);
  return rejections_;
}

bool Inbox::wait_until_finished(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  return all_finished_.wait_for(lock, timeout, [&] { return num_unfinished_ == 0; });
}

void Inbox::take(Mail& mail) {
  PAGODA_CHECK(mail.arrivals.empty() && mail.cancels.empty() && mail.flow_changes.empty(), "unread mail");
  std::lock_guard lock(mutex_);
  std::swap(mail, mail_);
  mail_.cancel_all = false;
}

void Inbox::on_finished(int64_t num_requests) {
  if (num_requests == 0) return;
  bool none_left = false;
  {
    std::lock_guard lock(mutex_);
    num_unfinished_ -= num_requests;
    none_left = num_unfinished_ == 0;
  }
  if (none_left) all_finished_.notify_all();
}

void Inbox::on_dequeued(int64_t num_prompt_tokens) {
  if (num_prompt_tokens == 0) return;
  std::lock_guard lock(mutex_);
  num_queued_tokens_ -= num_prompt_tokens;
}

void Inbox::wait_for(std::chrono::nanoseconds time) {
  std::unique_lock lock(mutex_);
  mail_came_.wait_for(lock, time, [&] { return stopped_ || mail_.has_any(); });
}

bool Inbox::wait() {
  std::unique_lock lock(mutex_);
  mail_came_.wait(lock, [&] { return stopped_ || mail_.has_any(); });
  return !stopped_;
}

bool Inbox::has_mail() const {
  std::lock_guard lock(mutex_);
  return stopped_ || mail_.has_any();
}

bool Inbox::stopped() const {
  std::lock_guard lock(mutex_);
  return stopped_;
}

}  // namespace pagoda
