// A sink that keeps everything it hears and checks the order of the calls.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/request.h"

namespace pagoda::testing {

class RecordingSink final : public RequestSink {
 public:
  struct Token {
    int32_t token = 0;
    float logprob = 0;
    std::vector<TokenLogprob> top_logprobs;
  };
  struct Output {
    std::vector<int32_t> tokens;
    std::vector<Token> events;
    std::vector<std::string> pieces;
    std::string text;
    std::optional<FinishReason> finish;
    std::string stop_match;
    int32_t stop_token = -1;
  };

  explicit RecordingSink(int32_t num_sequences = 1) : outputs(static_cast<size_t>(num_sequences)) {}

  void on_update(const SequenceUpdate& update) override {
    EXPECT_FALSE(done) << "an update after the end";
    Output& output = outputs.at(static_cast<size_t>(update.index));
    EXPECT_FALSE(output.finish) << "an update after the finish of sequence " << update.index;
    for (const TokenEvent& event : update.tokens) {
      output.tokens.push_back(event.token);
      output.events.push_back(copy(event));
    }
    output.pieces.emplace_back(update.text);
    output.text += update.text;
    output.finish = update.finish;
    output.stop_match = update.stop_match;
    output.stop_token = update.stop_token;
    if (update.timings) running_timings.push_back(*update.timings);
    num_updates.fetch_add(1, std::memory_order_relaxed);
  }
  void on_progress(const PromptProgress& news) override {
    EXPECT_EQ(num_updates.load(), 0) << "progress of the prompt after an update";
    progress.push_back(news);
  }
  void on_prompt_logprobs(std::span<const TokenEvent> tokens) override {
    EXPECT_EQ(num_updates.load(), 0) << "prompt logprobs after an update";
    EXPECT_FALSE(has_prompt_logprobs);
    has_prompt_logprobs = true;
    for (const TokenEvent& event : tokens) prompt_logprobs.push_back(copy(event));
  }
  void on_embedding(std::span<const float> vector) override {
    embedding.assign(vector.begin(), vector.end());
  }
  void on_done(const RequestTimings& request_timings, const Status& request_status) override {
    EXPECT_FALSE(done) << "a second end";
    for (const Output& output : outputs)
      EXPECT_TRUE(output.finish) << "the end before the finish of all sequences";
    timings = request_timings;
    status = request_status;
    done.store(true, std::memory_order_release);
  }

  std::vector<Output> outputs;
  std::vector<Token> prompt_logprobs;
  std::vector<float> embedding;
  std::vector<PromptProgress> progress;
  std::vector<RequestTimings> running_timings;  // of the updates
  bool has_prompt_logprobs = false;
  RequestTimings timings;
  Status status;
  std::atomic<int> num_updates{0};
  std::atomic<bool> done{false};

 private:
  static Token copy(const TokenEvent& event) {
    return {event.token, event.logprob, {event.top_logprobs.begin(), event.top_logprobs.end()}};
  }
};

}  // namespace pagoda::testing
