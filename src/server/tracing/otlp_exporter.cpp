#include "server/tracing/otlp_exporter.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include <curl/curl.h>

#include "base/log.h"
#include "server/version.h"

namespace pagoda {
namespace {

constexpr std::chrono::milliseconds kBatchTime{1000};
constexpr long kConnectTimeoutMs = 1000;
constexpr long kSendTimeoutMs = 3000;

size_t discard(char*, size_t size, size_t count, void*) {
  return size * count;
}

// A connection looks at its URL when it first sends.
bool is_url(const std::string& text) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), curl_url_cleanup);
  return url && curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) == CURLUE_OK;
}

std::string traces_url(const std::string& endpoint) {
  const size_t host = endpoint.find("://") + 3;
  const size_t slash = endpoint.find('/', host);
  if (slash == std::string::npos) return endpoint + "/v1/traces";
  return slash + 1 == endpoint.size() ? endpoint + "v1/traces" : endpoint;
}

}  // namespace

struct OtlpExporter::Connection {
  CURL* curl = nullptr;
  curl_slist* headers = nullptr;
  bool warned = false;

  ~Connection() {
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
  }
};

Result<std::unique_ptr<OtlpExporter>> OtlpExporter::create(const std::string& endpoint) {
  if (!endpoint.starts_with("http://") && !endpoint.starts_with("https://"))
    return fail(ErrorCode::invalid_argument, "--otlp-endpoint '{}' must begin with http:// or https://",
                endpoint);
  if (!is_url(endpoint))
    return fail(ErrorCode::invalid_argument, "--otlp-endpoint '{}' is not a URL", endpoint);
  auto connection = std::make_unique<Connection>();
  curl_global_init(CURL_GLOBAL_DEFAULT);
  connection->curl = curl_easy_init();
  if (!connection->curl) return fail(ErrorCode::internal, "Cannot start libcurl");
  CURL* curl = connection->curl;
  if (curl_easy_setopt(curl, CURLOPT_URL, traces_url(endpoint).c_str()) != CURLE_OK)
    return fail(ErrorCode::internal, "libcurl does not take '{}'", endpoint);
  connection->headers = curl_slist_append(nullptr, "Content-Type: application/json");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, connection->headers);
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, kSendTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "pagoda");
  return std::unique_ptr<OtlpExporter>(new OtlpExporter(std::move(connection)));
}

OtlpExporter::OtlpExporter(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)), thread_([this] { run(); }) {}

OtlpExporter::~OtlpExporter() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void OtlpExporter::add(std::vector<Span> spans) {
  bool full_batch = false;
  {
    std::lock_guard lock(mutex_);
    const size_t room = kMaxQueued - std::min(kMaxQueued, queue_.size());
    if (spans.size() > room) {
      num_dropped_ += spans.size();  // a whole request or none of it
      return;
    }
    std::ranges::move(spans, std::back_inserter(queue_));
    full_batch = queue_.size() >= kMaxBatch;
  }
  if (full_batch) changed_.notify_one();
}

void OtlpExporter::run() {
  pthread_setname_np(pthread_self(), "pagoda-traces");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait_for(lock, kBatchTime, [this] { return stopping_ || queue_.size() >= kMaxBatch; });
    const bool last = stopping_;
    if (!queue_.empty()) {
      const size_t count = last ? queue_.size() : std::min(queue_.size(), kMaxBatch);
      const auto end = queue_.begin() + static_cast<int64_t>(count);
      std::vector<Span> batch(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
      lock.unlock();
      send(std::move(batch));
      lock.lock();
    }
    if (last) return;
  }
}

void OtlpExporter::send(std::vector<Span> batch) {
  const std::string body = otlp_json(batch, kVersion);
  CURL* curl = connection_->curl;
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  const CURLcode code = curl_easy_perform(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  const bool sent = code == CURLE_OK && status >= 200 && status < 300;
  (sent ? num_exported_ : num_dropped_) += batch.size();
  // Once per outage, so that a dead collector does not fill the log.
  if (!sent && !connection_->warned)
    PAGODA_WARN("Traces are lost: the collector {}",
                code == CURLE_OK ? fmt::format("answers with status {}", status)
                                 : fmt::format("cannot be reached ({})", curl_easy_strerror(code)));
  connection_->warned = !sent;
}

}  // namespace pagoda
