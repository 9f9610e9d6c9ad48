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
constexpr const char* kPredictPath = "/predict";

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

// Posted; must outlive the transfer.
void set_body(CURL* curl, const std::string& body) {
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
}

size_t append_reply(char* bytes, size_t size, size_t count, void* target) {
  auto& reply = *static_cast<std::string*>(target);
  if (reply.size() + size * count > kMaxReplyBytes) return 0;
  reply.append(bytes, size * count);
  return size * count;
}

// Of a short answer, soon; must outlive the transfer.
void set_reply(CURL* curl, std::string& reply) {
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append_reply);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, kConnectTimeoutMs);
}

// The body of a short answer. `body` is posted; empty: asked for with GET.
struct Answer {
  long status = 0;
  std::string body;
};
Result<Answer> ask(const ReplayOptions& options, const std::string& path, const std::string& body) {
  const Easy easy(curl_easy_init());
  const Headers headers = make_headers(options.api_key);
  Answer answer;
  set_common_options(easy.get(), options.url + path, headers.get());
  if (!body.empty()) set_body(easy.get(), body);
  set_reply(easy.get(), answer.body);
  if (const CURLcode code = curl_easy_perform(easy.get()); code != CURLE_OK)
    return fail(ErrorCode::io, "{}: {}; is the server running?", options.url, curl_easy_strerror(code));
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

// The first model that the server lists.
Result<std::string> find_model(const ReplayOptions& options) {
  PAGODA_TRY(const Answer answer, ask(options, "/models", ""));
  json::error_code error;
  const json::value list = json::parse(answer.body, error);
  const json::value* id = error ? nullptr : list.find_pointer("/data/0/id", error);
  if (!id || !id->is_string())
    return fail(ErrorCode::io, "{}/models lists no model; name one with --served-model", options.url);
  return std::string(id->get_string());
}

std::string predict_body(const std::string& model, const std::vector<int32_t>& prompt, int64_t max_tokens) {
  return json::serialize(
      json::object{{"model", model}, {"prompt", json::value_from(prompt)}, {"max_tokens", max_tokens}});
}

// Seconds to the first token by an answer to that; negative if it is none.
double predicted_seconds(std::string_view body) {
  json::error_code error;
  const json::value answer = json::parse(body, error);
  const json::value* seconds = error ? nullptr : answer.find_pointer("/ttft_seconds", error);
  return seconds && seconds->is_number() ? seconds->to_number<double>() : -1;
}

// Before a replay that would have no forecasts.
Status check_predicts(const ReplayOptions& options, const std::string& model) {
  PAGODA_TRY(const Answer answer, ask(options, kPredictPath, predict_body(model, {options.ids.first}, 1)));
  if (answer.status == kHttpOk && predicted_seconds(answer.body) >= 0) return {};
  return fail(ErrorCode::io,
              "{}{} tells no forecast (HTTP {}); leave out --predict for servers other than Pagoda",
              options.url, kPredictPath, answer.status);
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

// A question for the forecast of one, under way.
struct Question {
  size_t index = 0;  // in the trace
  Easy easy;
  std::string body;
  std::string reply;
};

class Replay {
 public:
  Replay(const Trace& trace, const ReplayOptions& options, std::string model)
      : trace_(trace),
        options_(options),
        model_(std::move(model)),
        url_(options.url + "/completions"),
        predict_url_(options.url + kPredictPath),
        lead_ns_(options.predict ? kPredictLeadNs : 0),
        headers_(make_headers(options.api_key)),
        multi_(curl_multi_init()),
        due_ns_(trace.requests.size()),
        outcomes_(trace.requests.size()) {}
  ~Replay() {
    for (const auto& question : questions_) curl_multi_remove_handle(multi_.get(), question->easy.get());
    for (const auto& exchange : exchanges_) curl_multi_remove_handle(multi_.get(), exchange->easy.get());
  }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  Result<std::vector<TraceOutcome>> run() {
    start_ns_ = clock_.now_ns() + lead_ns_;
    while (next_ < trace_.requests.size() || !exchanges_.empty()) {
      while (is_near()) announce(near_++);
      while (is_due()) start(next_++);
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
  // Whether the next request's time has come, less the lead, or a client is free for it.
  bool is_near() const {
    if (near_ == trace_.requests.size()) return false;
    if (options_.num_clients > 0) return std::ssize(exchanges_) + num_announced() < options_.num_clients;
    return clock_.now_ns() >= arrival_ns(near_) - lead_ns_;
  }
  bool is_due() const { return next_ < near_ && clock_.now_ns() >= due_ns_[next_]; }
  int64_t num_announced() const { return static_cast<int64_t>(near_ - next_); }
  int64_t arrival_ns(size_t index) const { return start_ns_ + trace_.requests[index].arrival_ns; }
  int64_t wait_ns() const {
    if (is_near() || is_due() || (next_ == trace_.requests.size() && exchanges_.empty())) return 0;
    int64_t wait_ns = kLongestPollNs;
    if (next_ < near_) wait_ns = std::min(wait_ns, due_ns_[next_] - clock_.now_ns());
    if (near_ < trace_.requests.size() && options_.num_clients == 0)
      wait_ns = std::min(wait_ns, arrival_ns(near_) - lead_ns_ - clock_.now_ns());
    return std::max<int64_t>(wait_ns, 0);
  }

  std::vector<int32_t> prompt_of(size_t index) const {
    return make_prompt(trace_, index, options_.ids, options_.salt);
  }

  std::string make_body(size_t index) const {
    const TraceRequest& request = trace_.requests[index];
    json::object body = {{"model", model_},
                         {"prompt", json::value_from(prompt_of(index))},
                         {"max_tokens", request.num_output_tokens},
                         {"temperature", 0},
                         {"ignore_eos", true},
                         {"skip_special_tokens", false},  // every token is text: times of tokens are seen
                         {"stream", true},
                         {"stream_options", {{"include_usage", true}}}};
    if (!request.key.empty()) body["user"] = request.key;
    return json::serialize(body);
  }

  // A request that is late because the generator was busy still counts from when it was due.
  void announce(size_t index) {
    due_ns_[index] = options_.num_clients > 0 ? clock_.now_ns() + lead_ns_ : arrival_ns(index);
    if (!options_.predict) return;
    auto question = std::make_unique<Question>();
    question->index = index;
    question->easy.reset(curl_easy_init());
    question->body = predict_body(model_, prompt_of(index), trace_.requests[index].num_output_tokens);
    CURL* curl = question->easy.get();
    set_common_options(curl, predict_url_, headers_.get());
    set_body(curl, question->body);
    set_reply(curl, question->reply);
    curl_multi_add_handle(multi_.get(), curl);
    questions_.push_back(std::move(question));
  }

  void start(size_t index) {
    auto exchange = std::make_unique<Exchange>();
    exchange->index = index;
    exchange->easy.reset(curl_easy_init());
    exchange->body = make_body(index);
    exchange->clock = &clock_;
    CURL* curl = exchange->easy.get();
    set_common_options(curl, url_, headers_.get());
    set_body(curl, exchange->body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Exchange::write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange.get());
    curl_easy_setopt(curl, CURLOPT_PRIVATE, exchange.get());
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout_seconds * 1000));
    exchange->outcome = outcomes_[index];  // with its forecast
    exchange->outcome.arrival_ns = due_ns_[index];
    curl_multi_add_handle(multi_.get(), curl);
    exchanges_.push_back(std::move(exchange));
  }

  void finish_done() {
    int num_left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &num_left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Exchange* exchange = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
      if (exchange)
        finish(*exchange, message->data.result);
      else
        finish_question(message->easy_handle, message->data.result);
    }
  }

  void finish_question(CURL* easy, CURLcode code) {
    const auto found =
        std::ranges::find(questions_, easy, [](const auto& question) { return question->easy.get(); });
    const Question& question = **found;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    // The answer to a request that has been sent may count it.
    if (code == CURLE_OK && status == kHttpOk && question.index >= next_)
      outcomes_[question.index].forecast_ttft_seconds = predicted_seconds(question.reply);
    curl_multi_remove_handle(multi_.get(), easy);
    questions_.erase(found);
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
  const std::string predict_url_;
  const int64_t lead_ns_;
  const Headers headers_;
  const Multi multi_;
  const SteadyClock clock_;
  int64_t start_ns_ = 0;
  // In the trace: the next to be sent, and the next whose time is not near yet.
  size_t next_ = 0;
  size_t near_ = 0;
  std::vector<int64_t> due_ns_;  // of those before near_
  size_t num_finished_ = 0;
  std::vector<std::unique_ptr<Exchange>> exchanges_;
  std::vector<std::unique_ptr<Question>> questions_;
  std::vector<TraceOutcome> outcomes_;
};

}  // namespace

Result<std::vector<TraceOutcome>> replay_trace(const Trace& trace, const ReplayOptions& options) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  std::string model = options.model;
  if (model.empty()) {
    PAGODA_TRY(model, find_model(options));
  }
  if (options.predict) PAGODA_TRY_STATUS(check_predicts(options, model));
  return Replay(trace, options, std::move(model)).run();
}

}  // namespace pagoda
