// The messages of a chat, checked and brought into the form that chat templates expect.
#pragma once

#include <boost/json/array.hpp>

#include "server/openai/fields.h"

namespace pagoda {

// Errors go to `fields` and name e.g. messages[2].content[0].type. Roles: system (developer is read as
// system), user, assistant, tool, function. Text parts are joined by line ends; other members are passed on
// as they are.
void read_messages(Fields& fields, const boost::json::array& messages, boost::json::array& out);

}  // namespace pagoda
