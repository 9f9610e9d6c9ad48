// Keeps the tokens of a request with one sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"

namespace pagoda {

class TokenCollector final : public RequestSink {
 public:
  void on_update(const SequenceUpdate& update) override {
    for (const TokenEvent& event : update.tokens) tokens.push_back(event.token);
  }
  void on_prompt_logprobs(std::span<const TokenEvent>) override {}
  void on_done(const RequestTimings&, const Status& end) override {
    status = end;
    done = true;
  }

  std::vector<int32_t> tokens;
  bool done = false;
  Status status;
};

}  // namespace pagoda
