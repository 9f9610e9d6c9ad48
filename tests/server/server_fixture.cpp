#include "server/server_fixture.h"

#include <boost/json.hpp>

namespace pagoda::testing {
namespace json = boost::json;

ServerFixture::ServerFixture() {
  options.request_log = ServerOptions::RequestLog::off;
}

ServerFixture::~ServerFixture() {
  gate.open();
  if (server) stop_and_wait();
  server.reset();
}

void ServerFixture::start_without_model() {
  Result<std::unique_ptr<Server>> created = Server::create(options);
  ASSERT_TRUE(created) << created.error().message;
  server = std::move(*created);
  runner = std::thread([this] { server->run(); });
}

void ServerFixture::set_model() {
  ServedModel served = make_fake_served_model(
      engine_config,
      [this](const ForwardBatch&) {
        gate.pass();
        if (step_time.count() > 0) std::this_thread::sleep_for(step_time);
      },
      poison_token);
  if (output_format) served.output_format = *output_format;
  if (chat_template != kChatMl) served.chat_template = *ChatTemplate::compile(chat_template);
  model = std::make_shared<const ServedModel>(std::move(served));
  server->set_model(model);
}

void ServerFixture::start() {
  start_without_model();
  set_model();
}

void ServerFixture::stop_and_wait() {
  server->stop();
  if (runner.joinable()) runner.join();
}

HttpReply ServerFixture::get(const std::string& path, const std::string& headers) {
  return HttpClient(port()).get(path, headers);
}

HttpReply ServerFixture::post(const std::string& path, const std::string& body, const std::string& headers) {
  return HttpClient(port()).post(path, body, headers);
}

json::value ServerFixture::parse(const std::string& body) {
  boost::system::error_code ec;
  json::value value = json::parse(body, ec);
  EXPECT_FALSE(ec) << body;
  return value;
}

void ServerFixture::expect_error(const HttpReply& reply, int status, std::string_view type,
                                 std::string_view param, std::string_view code) {
  EXPECT_EQ(reply.status, status) << reply.body;
  EXPECT_EQ(reply.headers.at("content-type"), "application/json");
  const json::value body = parse(reply.body);
  ASSERT_TRUE(body.is_object()) << reply.body;
  ASSERT_TRUE(body.as_object().contains("error")) << reply.body;
  const json::object& error = body.at("error").as_object();
  EXPECT_FALSE(error.at("message").as_string().empty());
  EXPECT_EQ(error.at("type"), json::value(type)) << reply.body;
  EXPECT_EQ(error.at("param"), param.empty() ? json::value(nullptr) : json::value(param)) << reply.body;
  EXPECT_EQ(error.at("code"), code.empty() ? json::value(nullptr) : json::value(code)) << reply.body;
}

double ServerFixture::metric(const std::string& prefix) {
  const std::string text = get("/metrics").body;
  double sum = -1;
  for (size_t line = 0; line < text.size();) {
    const size_t end = std::min(text.find('\n', line), text.size());
    const std::string_view content = std::string_view(text).substr(line, end - line);
    if (content.starts_with(prefix))
      sum =
          std::max(sum, 0.0) + std::strtod(std::string(content.substr(content.rfind(' '))).c_str(), nullptr);
    line = end + 1;
  }
  return sum;
}

bool ServerFixture::eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < deadline) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

bool ServerFixture::engine_becomes_idle() {
  return eventually([this] {
    const EngineStats stats = model->engine->stats();
    return stats.num_running == 0 && stats.num_waiting == 0 && stats.kv_pages_used == 0;
  });
}

}  // namespace pagoda::testing
