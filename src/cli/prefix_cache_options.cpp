#include "cli/prefix_cache_options.h"

#include <map>
#include <string>

namespace pagoda {

void add_prefix_cache_options(CLI::App& app, EngineOptions& options) {
  constexpr auto kGroup = "Prefix cache";
  app.add_flag_callback(
         "--no-prefix-cache", [&options] { options.prefix_cache = false; },
         "Keep nothing of a request's KV cache for requests that begin alike")
      ->group(kGroup);
  app.add_option("--prefix-cache-eviction", options.eviction,
                 "What goes first: cost (what saves least time; default) or lru (what was used longest ago)")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Eviction>{{"cost", Eviction::cost}, {"lru", Eviction::lru}}))
      ->type_name("NAME")
      ->group(kGroup);
}

}  // namespace pagoda
