// The events of a stream of server-sent events.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "server/http_client.h"

namespace pagoda::testing {

struct SseEvent {
  std::string name;  // empty: without a name
  boost::json::value data;
};

// "[DONE]" becomes a string.
inline std::vector<SseEvent> sse_events(const HttpReply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.headers.at("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_TRUE(reply.complete);
  std::vector<SseEvent> events;
  for (size_t at = 0; at < reply.body.size();) {
    const size_t end = reply.body.find("\n\n", at);
    std::string block = reply.body.substr(at, end - at);
    at = end + 2;
    SseEvent event;
    if (block.starts_with("event: ")) {
      event.name = block.substr(7, block.find('\n') - 7);
      block.erase(0, block.find('\n') + 1);
    }
    EXPECT_TRUE(block.starts_with("data: ")) << block;
    block.erase(0, 6);
    boost::system::error_code ec;
    event.data = block == "[DONE]" ? boost::json::value("[DONE]") : boost::json::parse(block, ec);
    EXPECT_FALSE(ec) << block;
    events.push_back(std::move(event));
  }
  return events;
}

}  // namespace pagoda::testing
