// Sequences in any state, for tests of the engine's parts.
#pragma once

#include <memory>
#include <vector>

#include "engine/sequence.h"
#include "support/fake_tokenizer.h"
#include "support/recording_sink.h"

namespace pagoda::testing {

// Owns requests and hands out their first sequences; ids ascend.
class SequenceFactory {
 public:
  struct Numbers {
    int64_t num_prompt = 1;
    int64_t num_output = 0;
    int64_t num_computed = 0;
    int64_t max_tokens = 100;
    int32_t num_sequences = 1;
    bool want_prompt_logprobs = false;
    int64_t num_scored = 0;
  };

  std::unique_ptr<RequestState> make_request(const Numbers& numbers) {
    Request request{.prompt = std::vector<int32_t>(static_cast<size_t>(numbers.num_prompt), 5),
                    .num_sequences = numbers.num_sequences,
                    .max_tokens = numbers.max_tokens,
                    .want_prompt_logprobs = numbers.want_prompt_logprobs};
    auto state = std::make_unique<RequestState>(std::move(request),
                                                std::make_shared<RecordingSink>(numbers.num_sequences),
                                                EndRules{.max_tokens = numbers.max_tokens}, tokenizer_, 0);
    state->set_id(++last_id_, 0);
    Sequence& leader = state->leader();
    for (int64_t i = 0; i < numbers.num_output; ++i) leader.output.push({.token = 6});
    leader.num_computed = numbers.num_computed;
    state->scores.num_scored = numbers.num_scored;
    return state;
  }
  Sequence& make(const Numbers& numbers) {
    requests_.push_back(make_request(numbers));
    return requests_.back()->leader();
  }

 private:
  FakeTokenizer tokenizer_ = FakeTokenizer::letters(32);
  RequestId last_id_ = 0;
  std::vector<std::unique_ptr<RequestState>> requests_;
};

}  // namespace pagoda::testing
