#include <atomic>
#include <cstdio>
#include <iostream>
#include <iterator>

#include <boost/json.hpp>

#include "cli/completion.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/terminal.h"

namespace pagoda {

namespace {

double seconds(int64_t ns) {
  return static_cast<double>(ns) * 1e-9;
}

// Tokens per second after the first one; 0 if there is only one.
double decode_speed(const RequestTimings& timings) {
  if (timings.num_generated_tokens < 2 || timings.decode_ns <= 0) return 0;
  return static_cast<double>(timings.num_generated_tokens - 1) / seconds(timings.decode_ns);
}

void print_json(const Completion& completion) {
  const RequestTimings& timings = completion.timings;
  print_line(to_json({{"text", completion.text},
                      {"ids", boost::json::array(completion.ids.begin(), completion.ids.end())},
                      {"finish_reason", std::string(to_string(completion.finish))},
                      {"timings",
                       {{"prompt_tokens", timings.num_prompt_tokens},
                        {"generated_tokens", timings.num_generated_tokens},
                        {"prefill_seconds", seconds(timings.prefill_ns)},
                        {"decode_seconds", seconds(timings.decode_ns)},
                        {"decode_tokens_per_second", decode_speed(timings)}}}}));
}

void print_statistics(const Completion& completion) {
  if (!takes_colours(Stream::err)) return;
  const RequestTimings& timings = completion.timings;
  fmt::print(
      stderr, "{}\n",
      dim(fmt::format("{} prompt tokens in {:.2f} s, {} more at {:.1f} tokens/s, {}",
                      timings.num_prompt_tokens, seconds(timings.prefill_ns), timings.num_generated_tokens,
                      decode_speed(timings), to_string(completion.finish)),
          Stream::err));
}

Result<Request> request_for(const Session& session, const RunArguments& arguments,
                            const std::string& prompt) {
  if (!arguments.chat) return make_request(session, prompt);
  std::vector<ChatMessage> messages;
  if (!arguments.system.empty()) messages.push_back({"system", arguments.system});
  messages.push_back({"user", prompt});
  return make_request(session, messages);
}

}  // namespace

Status execute(const RunArguments& arguments) {
  std::string prompt = arguments.prompt;
  if (prompt == "-")
    prompt.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  PAGODA_TRY(const Session session, open_session(arguments.model));
  PAGODA_TRY(Request request, request_for(session, arguments, prompt));
  apply(arguments.sampling, request.sampling);
  request.stop = arguments.stop;
  request.ignore_eos = arguments.ignore_eos;
  if (arguments.max_tokens > 0) request.max_tokens = arguments.max_tokens;
  const auto on_text = [&](std::string_view text) {
    if (!arguments.json) print_now(text);
  };
  const std::atomic<bool> never{false};
  PAGODA_TRY(const Completion completion, complete(*session.engine, std::move(request), on_text, never));
  if (arguments.json) {
    print_json(completion);
  } else {
    print_line("");
    print_statistics(completion);
  }
  return {};
}

}  // namespace pagoda
