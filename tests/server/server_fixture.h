// A server over the fake model, on a free port, in this process.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <boost/json/value.hpp>

#include "server/http_client.h"
#include "server/server.h"
#include "support/fake_served_model.h"

namespace pagoda::testing {

class ServerFixture : public ::testing::Test {
 protected:
  ServerFixture();
  ~ServerFixture() override;

  // Options may be changed before; a test calls it once.
  void start();
  void start_without_model();
  void set_model();
  // stop() and the end of run().
  void stop_and_wait();

  HttpReply get(const std::string& path, const std::string& headers = {});
  HttpReply post(const std::string& path, const std::string& body, const std::string& headers = {});
  // The body's JSON; fails the test if it is none.
  static boost::json::value parse(const std::string& body);
  // Checks status and the error object.
  static void expect_error(const HttpReply& reply, int status, std::string_view type, std::string_view param,
                           std::string_view code);
  // A metric's value from /metrics, of all lines that start with `prefix`; -1 if there is none.
  double metric(const std::string& prefix);
  // Waits up to a minute.
  bool eventually(const std::function<bool()>& condition);
  bool engine_becomes_idle();
  uint16_t port() const { return server->port(); }

  ServerOptions options;
  EngineConfig engine_config = fake_engine_config();
  Gate gate;  // closed: the engine stands still in a forward pass
  int32_t poison_token = -1;
  std::optional<OutputFormat> output_format;  // else that of the fake model
  std::string chat_template = kChatMl;
  std::chrono::microseconds step_time{0};
  std::shared_ptr<const ServedModel> model;
  std::unique_ptr<Server> server;
  std::thread runner;
};

}  // namespace pagoda::testing
