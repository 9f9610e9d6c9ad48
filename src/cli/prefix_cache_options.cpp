#include "cli/prefix_cache_options.h"

#include <string>

#include "cli/byte_size.h"
#include "cli/command_options.h"

namespace pagoda {

namespace {

Result<Eviction> parse_eviction(std::string_view text) {
  return pick<Eviction>(text, {{"cost", Eviction::cost}, {"lru", Eviction::lru}});
}

}  // namespace

void add_prefix_cache_options(CLI::App& app, EngineOptions& options) {
  constexpr auto kGroup = "Prefix cache";
  app.add_flag_callback(
         "--no-prefix-cache", [&options] { options.prefix_cache = false; },
         "Keep nothing of a request's KV cache for requests that begin alike")
      ->group(kGroup);
  app.add_flag_callback(
         "--no-kv-ahead", [&options] { options.kv_ahead = false; },
         "Neither keep pages of preempted requests longer than others nor fetch them before they run")
      ->group(kGroup);
  CLI::Option* folder =
      app.add_option(
             "--kv-disk", options.kv_disk,
             "Keep pages of the KV cache in this folder, too: requests that begin alike find them there, "
             "also after a restart")
          ->type_name("FOLDER")
          ->group(kGroup);
  app.add_option_function<std::string>("--kv-disk-size",
                                       into(options.kv_disk_bytes, parse_byte_size, "--kv-disk-size"),
                                       "How much of the disk it may take (default: 20GiB)")
      ->type_name("SIZE")
      ->needs(folder)
      ->group(kGroup);
  app.add_option_function<std::string>(
         "--prefix-cache-eviction", into(options.eviction, parse_eviction, "--prefix-cache-eviction"),
         "What goes first: cost (what saves least time; default) or lru (what was used longest ago)")
      ->type_name("NAME")
      ->group(kGroup);
}

}  // namespace pagoda
