// The door between the threads that submit and the engine thread: the only place of the engine with a lock
// that both sides take, and it is held for a few moves.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "engine/sequence.h"

namespace pagoda {

// Whether a request may compute.
struct FlowChange {
  RequestId id = 0;
  enum class Kind { park, resume } kind = Kind::park;
};

class Inbox {
 public:
  // Requests refused so far.
  struct Rejections {
    uint64_t queue_full = 0;
    uint64_t queued_tokens = 0;
    uint64_t closed = 0;
  };
  // What the engine thread takes out at once. Reused from step to step.
  struct Mail {
    std::vector<std::unique_ptr<RequestState>> arrivals;  // ids ascending
    std::vector<RequestId> cancels;
    std::vector<FlowChange> flow_changes;  // in order
    bool cancel_all = false;

    bool has_any() const {
      return !arrivals.empty() || !cancels.empty() || !flow_changes.empty() || cancel_all;
    }
  };

  // Bounds the requests that have not finished, and (unless 0) the prompt tokens of those that have not
  // started. Default seeds derive from `seed` and the request's number.
  Inbox(int32_t max_unfinished, uint64_t seed, int64_t max_queued_tokens = 0);

  // ---- any thread ----
  // Numbers the request. overloaded if there are too many or their prompts too long, or after close().
  Result<RequestId> push(std::unique_ptr<RequestState> request);
  void cancel(RequestId id);
  void change_flow(FlowChange change);
  void cancel_all();
  void close();  // no more requests
  void stop();   // wait() returns for good
  int64_t num_unfinished() const;
  Rejections rejections() const;
  // Returns whether all requests finished in time.
  bool wait_until_finished(std::chrono::nanoseconds timeout);

  // ---- the engine thread ----
  // Fills `mail`, which must be empty.
  void take(Mail& mail);
  void on_finished(int64_t num_requests);
  // Prompts that wait no longer.
  void on_dequeued(int64_t num_prompt_tokens);
  // Whether wait() would return at once.
  bool has_mail() const;
  // Sleeps until there is mail or stop(); returns false after stop().
  bool wait();
  // Sleeps until there is mail or stop(), or the time is over.
  void wait_for(std::chrono::nanoseconds time);
  bool stopped() const;

 private:
  const int64_t max_unfinished_;
  const uint64_t seed_;
  const int64_t max_queued_tokens_;
  mutable std::mutex mutex_;
  std::condition_variable mail_came_;
  std::condition_variable all_finished_;
  Mail mail_;
  RequestId last_id_ = 0;
  int64_t num_unfinished_ = 0;
  int64_t num_queued_tokens_ = 0;
  Rejections rejections_;
  bool closed_ = false;
  bool stopped_ = false;
};

}  // namespace pagoda
