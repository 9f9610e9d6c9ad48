#include "server/server.h"

#include <condition_variable>
#include <cstdlib>
#include <mutex>

#include "base/log.h"
#include "server/app_context.h"
#include "server/http/http_server.h"
#include "server/router.h"

namespace pagoda {
namespace {

constexpr std::chrono::milliseconds kLastWords{2'000};  // for cancelled streams to say so

}  // namespace

struct Server::Impl {
  explicit Impl(ServerOptions options) : context(std::move(options)), router(context) {}

  AppContext context;
  Router router;
  std::unique_ptr<HttpServer> http;  // destroyed first

  std::mutex mutex;
  std::condition_variable stop_called;
  bool stopping = false;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
  // Operations end before the workers that they use.
  impl_->http.reset();
  impl_->context.model.set(nullptr);
}

Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
  raise_open_file_limit();
  auto impl = std::make_unique<Impl>(std::move(options));
  if (const std::string& endpoint = impl->context.options.otlp_endpoint; !endpoint.empty()) {
    PAGODA_TRY(impl->context.traces, OtlpExporter::create(endpoint));
  }
  PAGODA_TRY(impl->http, HttpServer::listen(impl->context.options.http, impl->router));
  impl->http->start();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

uint16_t Server::port() const {
  return impl_->http->port();
}

void Server::set_model(std::shared_ptr<const ServedModel> model) {
  impl_->context.model.set(std::move(model));
}

void Server::stop_on_signals() {
  impl_->http->watch_signals([impl = impl_.get(), this](int number) {
    bool again = false;
    {
      std::lock_guard lock(impl->mutex);
      again = impl->stopping;
    }
    if (again) std::_Exit(128 + number);
    PAGODA_INFO("Stopping: running requests may finish; signal again to stop at once");
    stop();
  });
}

void Server::stop() {
  impl_->context.draining = true;
  impl_->http->begin_drain();
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->stop_called.notify_all();
}

void Server::run() {
  {
    std::unique_lock lock(impl_->mutex);
    impl_->stop_called.wait(lock, [this] { return impl_->stopping; });
  }
  const bool finished = impl_->http->wait_idle(impl_->context.options.drain_timeout);
  if (!finished) PAGODA_WARN("The drain timeout has passed: cancelling what still runs");
  if (const auto model = impl_->context.model.get()) model->engine->drain(0);
  if (!finished) impl_->http->wait_idle(kLastWords);
}

}  // namespace pagoda
