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

class Inbox {
 public:
  // What the engine thread takes out at once. Reused from step to step.
  struct Mail {
    std::vector<std::unique_ptr<RequestState>> arrivals;  // ids ascending
    std::vector<RequestId> cancels;
    bool cancel_all = false;
  };

  // Bounds the requests that have not finished. Default seeds derive from `seed` and the request's number.
  Inbox(int32_t max_unfinished, uint64_t seed);

  // ---- any thread ----
  // Numbers the request. overloaded if there are too many, or after close().
  Result<RequestId> push(std::unique_ptr<RequestState> request);
  void cancel(RequestId id);
  void cancel_all();
  void close();  // no more requests
  void stop();   // wait() returns for good
  int64_t num_unfinished() const;
  // Returns whether all requests finished in time.
  bool wait_until_finished(std::chrono::nanoseconds timeout);

  // ---- the engine thread ----
  // Fills `mail`, which must be empty.
  void take(Mail& mail);
  void on_finished(int64_t num_requests);
  // Sleeps until there is mail or stop(); returns false after stop().
  bool wait();
  bool stopped() const;

 private:
  bool has_mail() const { return !mail_.arrivals.empty() || !mail_.cancels.empty() || mail_.cancel_all; }

  const int64_t max_unfinished_;
  const uint64_t seed_;
  mutable std::mutex mutex_;
  std::condition_variable mail_came_;
  std::condition_variable all_finished_;
  Mail mail_;
  RequestId last_id_ = 0;
  int64_t num_unfinished_ = 0;
  bool closed_ = false;
  bool stopped_ = false;
};

}  // namespace pagoda
