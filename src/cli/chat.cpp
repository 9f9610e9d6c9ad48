#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include <unistd.h>

#include "cli/completion.h"
#include "cli/session.h"
#include "cli/terminal.h"

namespace pagoda {

namespace {

constexpr std::string_view kHelp =
    "/reset  begin anew\n"
    "/help   show this\n"
    "/exit   leave (so does Ctrl-D)\n"
    "Ctrl-C stops an answer.\n";

// Set by the signal handler, which can reach nothing else.
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// While it lives, SIGINT sets `interrupted` and system calls return.
class InterruptGuard {
 public:
  InterruptGuard() {
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted.store(true, std::memory_order_relaxed); };
    sigaction(SIGINT, &action, &previous_);
  }
  ~InterruptGuard() { sigaction(SIGINT, &previous_, nullptr); }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction previous_ = {};
};

// Lines of standard input; shows a prompt at a terminal, where Ctrl-C only abandons the line.
class LineReader {
 public:
  LineReader() : at_terminal_(isatty(STDIN_FILENO) != 0) {}
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  ~LineReader() { std::free(buffer_); }

  bool at_terminal() const { return at_terminal_; }

  // Nothing at the end of the input.
  std::optional<std::string> next() {
    while (true) {
      if (at_terminal_) print_now(bold("> ", Stream::out));
      interrupted.store(false, std::memory_order_relaxed);
      errno = 0;
      const ssize_t len = getline(&buffer_, &capacity_, stdin);
      if (len >= 0) return without_line_end({buffer_, static_cast<size_t>(len)});
      if (!at_terminal_ || errno != EINTR) return std::nullopt;
      std::clearerr(stdin);
      print_now("\n/exit or Ctrl-D leaves\n");
    }
  }

 private:
  static std::string without_line_end(std::string_view line) {
    while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
    return std::string(line);
  }

  bool at_terminal_;
  char* buffer_ = nullptr;
  size_t capacity_ = 0;
};

class Conversation {
 public:
  Conversation(const Session& session, const ChatArguments& arguments)
      : session_(session), arguments_(arguments) {
    reset();
  }

  void reset() {
    messages_.clear();
    if (!arguments_.system.empty()) messages_.push_back({"system", arguments_.system});
  }

  // Streams the answer. A turn that fails is forgotten.
  Status answer(const std::string& text) {
    messages_.push_back({"user", text});
    Result<Completion> completion = compute();
    if (!completion) {
      messages_.pop_back();
      return std::unexpected(completion.error());
    }
    print_line("");
    messages_.push_back({"assistant", std::move(completion->text)});
    return {};
  }

 private:
  Result<Completion> compute() {
    PAGODA_TRY(Request request, make_request(session_, messages_));
    apply(arguments_.sampling, request.sampling);
    if (arguments_.max_tokens > 0) request.max_tokens = arguments_.max_tokens;
    return complete(*session_.engine, std::move(request), print_now, interrupted);
  }

  const Session& session_;
  const ChatArguments& arguments_;
  std::vector<ChatMessage> messages_;
};

}  // namespace

Status execute(const ChatArguments& arguments) {
  PAGODA_TRY(const Session session, open_session(arguments.model));
  if (!session.chat_template)
    return fail(ErrorCode::unsupported, "this model has no chat template; 'pagoda run' continues plain text");
  const InterruptGuard guard;
  LineReader reader;
  Conversation conversation(session, arguments);
  if (reader.at_terminal()) print_line("/help lists what can be typed");
  while (const std::optional<std::string> line = reader.next()) {
    if (*line == "/exit") break;
    if (*line == "/help") {
      print_now(kHelp);
    } else if (*line == "/reset") {
      conversation.reset();
    } else if (line->find_first_not_of(" \t") != std::string::npos) {
      const Status status = conversation.answer(*line);
      if (status) continue;
      if (!reader.at_terminal()) return status;
      fmt::print(stderr, "{} {}; /reset begins anew\n", red("error:", Stream::err), status.error().message);
    }
  }
  return {};
}

}  // namespace pagoda
