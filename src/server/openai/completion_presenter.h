// Answers of /v1/completions: text_completion, whole or as a stream of chunks of the same name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/openai/answer_info.h"
#include "server/openai/presenter.h"

namespace pagoda {

// A prompt that the answer begins with (`echo`).
struct EchoedPrompt {
  std::string text;
  std::vector<int32_t> tokens;   // empty unless logprobs are wanted
  bool starts_with_bos = false;  // added by the server, and not part of the text
};

// `echo`: empty, or one per prompt. Choices are numbered prompt * num_choices + sequence.
std::unique_ptr<Presenter> make_completion_answer(AnswerInfo info, size_t num_prompts,
                                                  std::vector<EchoedPrompt> echo);
std::unique_ptr<Presenter> make_completion_stream(AnswerInfo info, size_t num_prompts,
                                                  std::vector<EchoedPrompt> echo);

}  // namespace pagoda
