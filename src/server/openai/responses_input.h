// The items of a response's input -> messages as templates want them.
#pragma once

#include <boost/json/array.hpp>

#include "server/openai/fields.h"

namespace pagoda {

// Messages, function calls, their outputs and reasoning. A call and the reasoning before it become part of
// the assistant's message. Errors go to `fields` and name e.g. input[0].content[1].type.
void read_response_input(Fields& fields, const boost::json::array& items, boost::json::array& out);

}  // namespace pagoda
