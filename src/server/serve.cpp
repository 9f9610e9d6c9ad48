#include "server/serve.h"

#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <thread>

#include "server/server.h"

namespace pagoda {

Status serve(const ServerOptions& options, const ModelLoader& load, const ReadyCallback& on_ready) {
  PAGODA_TRY(const std::unique_ptr<Server> server, Server::create(options));
  server->stop_on_signals();
  std::promise<Status> loaded;
  std::future<Status> outcome = loaded.get_future();
  std::thread loader([&] {
    Result<ServedModel> model = load();
    if (!model) {
      loaded.set_value(std::unexpected(std::move(model).error()));
      server->stop();
      return;
    }
    const auto served = std::make_shared<const ServedModel>(std::move(*model));
    server->set_model(served);
    loaded.set_value({});
    on_ready(*served, server->port());
  });
  server->run();
  if (outcome.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    std::fflush(nullptr);
    std::_Exit(0);
  }
  loader.join();
  return outcome.get();
}

}  // namespace pagoda
