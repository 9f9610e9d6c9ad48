// The HTTP server with its API. Opens its port at once, answers 503 until it has a model, and drains when
// stopped.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "server/served_model.h"
#include "server/server_options.h"

namespace pagoda {

class Server {
 public:
  // Opens the port and starts to answer.
  static Result<std::unique_ptr<Server>> create(ServerOptions options);
  ~Server();  // cuts what is left

  uint16_t port() const;
  // Once: from now on requests are served. Its engine must have been started.
  void set_model(std::shared_ptr<const ServedModel> model);
  // SIGINT and SIGTERM call stop(); a second one ends the process at once.
  void stop_on_signals();
  // Any thread. No new connections and requests; run() drains and returns.
  void stop();
  // Blocks until stop(); then until the running requests have ended, the rest being cancelled after the drain
  // timeout.
  void run();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pagoda
