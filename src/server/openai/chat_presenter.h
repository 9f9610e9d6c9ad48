// Answers of /v1/chat/completions: chat.completion, or a stream of chat.completion.chunk.
#pragma once

#include <memory>

#include "server/openai/answer_info.h"
#include "server/openai/presenter.h"

namespace pagoda {

std::unique_ptr<Presenter> make_chat_answer(AnswerInfo info);
std::unique_ptr<Presenter> make_chat_stream(AnswerInfo info);

}  // namespace pagoda
