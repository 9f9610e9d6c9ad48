// Answers of /v1/messages: a message, or its stream of events.
#pragma once

#include <memory>

#include "server/openai/answer_info.h"
#include "server/openai/presenter.h"

namespace pagoda {

std::unique_ptr<Presenter> make_messages_answer(AnswerInfo info);
std::unique_ptr<Presenter> make_messages_stream(AnswerInfo info);

}  // namespace pagoda
