// pagoda: the command line of the engine.
#include <cstdio>
#include <string>
#include <variant>

#include "base/heap.h"
#include "cli/command_line.h"
#include "cli/terminal.h"

int main(int argc, char** argv) {
  pagoda::return_large_blocks();
  const auto command = pagoda::parse_command_line(argc, argv);
  if (!command) return command.error();
  const pagoda::Status status =
      std::visit([](const auto& arguments) { return pagoda::execute(arguments); }, *command);
  std::fflush(stdout);
  if (status) return pagoda::kExitOk;
  const std::string label = pagoda::red("error:", pagoda::Stream::err);
  fmt::print(stderr, "pagoda: {} {}\n", label, status.error().message);
  return pagoda::kExitFailure;
}
