// pagoda: the command line of the engine.
#include <cstdio>
#include <string>
#include <variant>

#include "base/heap.h"
#include "cli/command_line.h"
#include "cli/terminal.h"

namespace {

int explain(const pagoda::Error& error) {
  const std::string label = pagoda::red("error:", pagoda::Stream::err);
  fmt::print(stderr, "pagoda: {} {}\n", label, error.message);
  return pagoda::kExitFailure;
}

}  // namespace

int main(int argc, char** argv) {
  pagoda::return_large_blocks();
  const auto command = pagoda::parse_command_line(argc, argv);
  pagoda::Status status;
  if (command)
    status = std::visit([](const auto& arguments) { return pagoda::execute(arguments); }, *command);
  const pagoda::Status written = pagoda::flush_output();
  if (!status) return explain(status.error());
  if (!written) return explain(written.error());
  return command ? pagoda::kExitOk : command.error();
}
