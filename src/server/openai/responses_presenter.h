// Answers of /v1/responses: a response, or its stream of events.
#pragma once

#include <memory>

#include <boost/json/object.hpp>

#include "server/openai/answer_info.h"
#include "server/openai/presenter.h"

namespace pagoda {

// `echo`: members of the response that repeat the request.
std::unique_ptr<Presenter> make_response_answer(AnswerInfo info, boost::json::object echo);
std::unique_ptr<Presenter> make_response_stream(AnswerInfo info, boost::json::object echo);

}  // namespace pagoda
