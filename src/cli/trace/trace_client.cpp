#include "cli/trace/trace_client.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include <curl/curl.h>
#include <boost/json.hpp>

#include "base/clock.h"
#include "cli/trace/event_stream.h"

namespace pagoda {

namespace {

namespace json = boost::json;

constexpr long kConnectTimeoutMs = 10000;
constexpr int64_t kLongestPollNs = 200'000'000;
constexpr size_t kMaxReplyBytes = size_t{1} << 20;
constexpr long kHttpOk = 200;

// libcurl's handles are all void* to C++, so each kind gets an owner of its own.
struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct MultiDeleter {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;
using Multi = std::unique_ptr<CURLM, MultiDeleter>;
using Headers = std::unique_ptr<curl_slist, ListDeleter>;

Headers make_headers(const std::string& api_key) {
  curl_slist* list = curl_slist_append(nullptr, "Content-Type: application/json");
  if (!api_key.empty()) list = curl_slist_append(list, ("Authorization: Bearer " + api_key).c_str());
  return Headers(list);
}

void set_common_options(CURL* curl, const std::string& url, curl_slist* headers) {
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "pagoda");
}

size_t append_reply(char* bytes, size_t size, size_t count, void* target) {
  auto& reply = *static_cast<std::string*>(target);
  if (reply.size() + size * count > kMaxReplyBytes) return 0;
  reply.append(bytes, size * count);
  return size * count;
}

// The first model that the server lists.
Result<std::string> find_model(const ReplayOptions& options) {
  const Easy easy(curl_easy_init());
  const Headers headers = make_headers(options.api_key);
  std::string reply;
  set_common_options(easy.get(), options.url + "/models", headers.get());
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, append_reply);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &reply);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS, kConnectTimeoutMs);
  if (const CURLcode code = curl_easy_perform(easy.get()); code != CURLE_OK)
    return fail(ErrorCode::io, "{}: {}; is the server running?", options.url, curl_easy_strerror(code));
  json::error_code error;
  const json::value list = json::parse(reply, error);
  const json::value* id = error ? nullptr : list.find_pointer("/data/0/id", error);
  if (!id || !id->is_string())
    return fail(ErrorCode::io, "{}/models lists no model; name one with --served-model", options.url);
  return std::string(id->get_string());
}

// One request under way.
struct Exchange {
  size_t index = 0;  // in the trace
  Easy easy;
  std::string body;
  EventStream events;
  const Clock* clock = nullptr;
  TraceOutcome outcome;
  int64_t last_text_ns = -1;

  void on_bytes(std::string_view bytes) {
    if (!events.push(bytes)) return;
    const int64_t now_ns = clock->now_ns();
    if (last_text_ns < 0)
      outcome.first_token_ns = now_ns;
    else
      outcome.largest_gap_ns = std::max(outcome.largest_gap_ns, now_ns - last_text_ns);
    last_text_ns = now_ns;
  }

  static size_t write(char* bytes, size_t size, size_t count, void* exchange) {
    static_cast<Exchange*>(exchange)->on_bytes({bytes, size * count});
    return size * count;
  }
};

class Replay {
 public:
  Replay(const Trace& trace, const ReplayOptions& options, std::string model)
      : trace_(trace),
        options_(options),
        model_(std::move(model)),
        url_(options.url + "/completions"),
        headers_(make_headers(options.api_key)),
        multi_(curl_multi_init()),
        outcomes_(trace.requests.size()) {}
  ~Replay() {
    for (const auto& exchange : exchanges_) curl_multi_remove_handle(multi_.get(), exchange->easy.get());
  }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  Result<std::vector<TraceOutcome>> run() {
    start_ns_ = clock_.now_ns();
    while (next_ < trace_.requests.size() || !exchanges_.empty()) {
      start_due();
      int num_running = 0;
      if (const CURLMcode code = curl_multi_perform(multi_.get(), &num_running); code != CURLM_OK)
        return fail(ErrorCode::io, "{}: {}", url_, curl_multi_strerror(code));
      finish_done();
      const int64_t wait_ms = (wait_ns() + 999'999) / 1'000'000;
      if (wait_ms > 0) curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(wait_ms), nullptr);
    }
    return std::move(outcomes_);
  }

 private:
  bool is_due() const {
    if (next_ == trace_.requests.size()) return false;
    if (options_.num_clients > 0) return std::ssize(exchanges_) < options_.num_clients;
    return clock_.now_ns() >= start_ns_ + trace_.requests[next_].arrival_ns;
  }
  void start_due() {
    while (is_due()) start(next_++);
  }
  int64_t wait_ns() const {
    if (is_due() || (next_ == trace_.requests.size() && exchanges_.empty())) return 0;
    if (next_ == trace_.requests.size() || options_.num_clients > 0) return kLongestPollNs;
    const int64_t arrival_ns = start_ns_ + trace_.requests[next_].arrival_ns;
    return std::clamp<int64_t>(arrival_ns - clock_.now_ns(), 0, kLongestPollNs);
  }

  std::string make_body(size_t index) const {
    const TraceRequest& request = trace_.requests[index];
    json::object body = {
        {"model", model_},
        {"prompt", json::value_from(make_prompt(trace_, index, options_.ids, options_.salt))},
        {"max_tokens", request.num_output_tokens},
        {"temperature", 0},
        {"ignore_eos", true},
        {"skip_special_tokens", false},  // every token is text: times of tokens are seen
        {"stream", true},
        {"stream_options", {{"include_usage", true}}}};
    if (!request.key.empty()) body["user"] = request.key;
    return json::serialize(body);
  }

  void start(size_t index) {
    auto exchange = std::make_unique<Exchange>();
    exchange->index = index;
    exchange->easy.reset(curl_easy_init());
    exchange->body = make_body(index);
    exchange->clock = &clock_;
    CURL* curl = exchange->easy.get();
    set_common_options(curl, url_, headers_.get());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, exchange->body.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(exchange->body.size()));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Exchange::write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange.get());
    curl_easy_setopt(curl, CURLOPT_PRIVATE, exchange.get());
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout_seconds * 1000));
    // A request that starts late because the generator was busy still counts from when it was due.
    exchange->outcome.arrival_ns =
        options_.num_clients > 0 ? clock_.now_ns() : start_ns_ + trace_.requests[index].arrival_ns;
    curl_multi_add_handle(multi_.get(), curl);
    exchanges_.push_back(std::move(exchange));
  }

  void finish_done() {
    int num_left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &num_left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Exchange* exchange = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
      finish(*exchange, message->data.result);
    }
  }

  void finish(Exchange& exchange, CURLcode code) {
    TraceOutcome& outcome = exchange.outcome;
    outcome.end_ns = clock_.now_ns();
    if (exchange.last_text_ns < 0) outcome.first_token_ns = outcome.end_ns;
    outcome.num_output_tokens = exchange.events.num_output_tokens();
    outcome.num_cached_tokens = exchange.events.num_cached_tokens();
    if (const double ms = exchange.events.waiting_ms(); ms >= 0) outcome.waited_ns = std::llround(ms * 1e6);
    long status = 0;
    curl_easy_getinfo(exchange.easy.get(), CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
      outcome.error = curl_easy_strerror(code);
    else if (status != kHttpOk)
      outcome.error = fmt::format("HTTP {}", status);
    else if (!exchange.events.error().empty())
      outcome.error = exchange.events.error();
    else if (outcome.num_output_tokens < 1)
      outcome.error = "no usage in the stream";
    outcomes_[exchange.index] = std::move(outcome);
    curl_multi_remove_handle(multi_.get(), exchange.easy.get());
    std::erase_if(exchanges_, [&](const auto& candidate) { return candidate.get() == &exchange; });
    ++num_finished_;
    if (options_.on_progress)
      options_.on_progress(static_cast<double>(num_finished_) / static_cast<double>(outcomes_.size()));
  }

  const Trace& trace_;
  const ReplayOptions& options_;
  const std::string model_;
  const std::string url_;
  const Headers headers_;
  const Multi multi_;
  const SteadyClock clock_;
  int64_t start_ns_ = 0;
  size_t next_ = 0;  // in the trace
  size_t num_finished_ = 0;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::vector<TraceOutcome> outcomes_;
};

}  // namespace

Result<std::vector<TraceOutcome>> replay_trace(const Trace& trace, const ReplayOptions& options) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  std::string model = options.model;
  if (model.empty()) {
    PAGODA_TRY(model, find_model(options));
  }
  return Replay(trace, options, std::move(model)).run();
}

}  // namespace pagoda
