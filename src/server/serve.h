// `pagoda serve`: a server whose model is loaded while the port is already open.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "server/served_model.h"
#include "server/server_options.h"

namespace pagoda {

// Called on a thread of its own; the server answers 503 meanwhile.
using ModelLoader = std::function<Result<ServedModel>()>;
// Called once, when /ready answers 200 and so do requests: the place for a banner.
using ReadyCallback = std::function<void(const ServedModel& model, uint16_t port)>;

// Serves until SIGTERM or SIGINT, drains and returns. The errors are those of the port and of the loader. A
// signal while the model is being loaded ends the process at once, with status 0: there is nothing to drain.
Status serve(const ServerOptions& options, const ModelLoader& load, const ReadyCallback& on_ready);

}  // namespace pagoda
