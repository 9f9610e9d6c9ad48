#include "cli/command_options.h"

namespace pagoda {

namespace {

void add_action(CLI::App& parent, CommandMaker& make, const char* name, CacheAction action,
                const char* description, const char* examples) {
  auto arguments = std::make_shared<CacheArguments>();
  arguments->action = action;
  CLI::App& app = add_command(parent, make, name, description, arguments, examples);
  app.add_option("DIR", arguments->folder, "The folder that holds the stored pages")->required();
  add_json(app, arguments->json, "Print one JSON object");
}

}  // namespace

void add_cache_commands(CLI::App& app, CommandMaker& make) {
  CLI::App& cache = *app.add_subcommand("cache", "Look after a KV cache on disk");
  cache.require_subcommand(1);
  add_action(cache, make, "inspect", CacheAction::inspect,
             "What the folder holds, told from the headers; also while a server uses it",
             "  pagoda cache inspect /var/cache/pagoda\n"
             "  pagoda cache inspect /var/cache/pagoda --json");
  add_action(cache, make, "verify", CacheAction::verify,
             "Read every page and check it; exit code 1 if any is bad (a server would pass over it)",
             "  pagoda cache verify /var/cache/pagoda");
  add_action(cache, make, "clear", CacheAction::clear,
             "Remove the stored pages and nothing else; not while a server uses them",
             "  pagoda cache clear /var/cache/pagoda");
}

}  // namespace pagoda
