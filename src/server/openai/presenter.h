// Turns the engine's news of one API request into the bytes of its answer. One object per request, used by
// one thread. Calls: begin, then per prompt progress* [prompt_logprobs] update* prompt_done, then end; or
// fail at any time, as the last call. What has a default does nothing there.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "server/openai/api_error.h"
#include "server/openai/events.h"

namespace pagoda {

class Presenter {
 public:
  virtual ~Presenter() = default;
  virtual bool streams() const = 0;
  virtual void begin(std::string& /*out*/) {}
  virtual void progress(size_t /*prompt*/, const PromptProgress& /*progress*/, std::string& /*out*/) {}
  virtual void prompt_logprobs(size_t /*prompt*/, std::span<const ScoredToken> /*tokens*/,
                               std::string& /*out*/) {}
  virtual void update(size_t prompt, const SequenceNews& news, std::string& out) = 0;
  virtual void prompt_done(size_t prompt, const RequestTimings& timings) = 0;
  // Of a stream: its last events; else the whole body.
  virtual void end(std::string& out) = 0;
  // Of a stream only: the error, in band.
  virtual void fail(const ApiError& /*error*/, std::string& /*out*/) {}
};

}  // namespace pagoda
