#include "cli/child_process.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace pagoda {

namespace {

constexpr std::byte kDone{1};

void write_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

std::vector<std::byte> read_all(int descriptor) {
  std::vector<std::byte> bytes;
  std::byte buffer[4096];
  while (true) {
    const ssize_t count = read(descriptor, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return bytes;
    bytes.insert(bytes.end(), buffer, buffer + count);
  }
}

// What the child sends: kDone and the result, or the error's code and message.
[[noreturn]] void answer(int descriptor, size_t num_bytes,
                         const std::function<Status(std::span<std::byte>)>& fill) {
  std::vector<std::byte> result(num_bytes);
  const Status status = fill(result);
  std::vector<std::byte> message;
  if (status) {
    message.push_back(kDone);
    message.insert(message.end(), result.begin(), result.end());
  } else {
    const auto text = std::as_bytes(std::span(status.error().message));
    message = {std::byte{0}, static_cast<std::byte>(status.error().code)};
    message.insert(message.end(), text.begin(), text.end());
  }
  write_all(descriptor, message);
  _exit(0);
}

}  // namespace

Status run_in_child(std::span<std::byte> result, const std::function<Status(std::span<std::byte>)>& fill) {
  int ends[2];
  if (pipe(ends) != 0) return fail(ErrorCode::io, "no pipe to a child process: {}", std::strerror(errno));
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    close(ends[0]);
    close(ends[1]);
    return fail(ErrorCode::io, "no child process: {}", std::strerror(errno));
  }
  if (child == 0) {
    close(ends[0]);
    answer(ends[1], result.size(), fill);
  }
  close(ends[1]);
  const std::vector<std::byte> message = read_all(ends[0]);
  close(ends[0]);
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  if (message.size() == result.size() + 1 && message.front() == kDone) {
    std::copy(message.begin() + 1, message.end(), result.begin());
    return {};
  }
  if (message.size() < 2)
    return fail(ErrorCode::internal, "the measuring process ended early ({})",
                WIFSIGNALED(state) ? strsignal(WTERMSIG(state)) : "no answer");
  const auto* text = reinterpret_cast<const char*>(message.data());
  return fail(static_cast<ErrorCode>(message[1]), "{}", std::string_view(text + 2, message.size() - 2));
}

}  // namespace pagoda
