// One HTTP request, chunked bodies and all. The first byte says into how large pieces the rest is cut: the
// result must not depend on them.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "server/http/request_reader.h"

namespace {

using pagoda::HttpRequest;
using pagoda::http::RequestReader;

constexpr uint32_t kHeaderLimit = 4096;
constexpr uint64_t kBodyLimit = 8192;

struct Outcome {
  std::optional<HttpRequest> request;
  size_t used = 0;
};

// Feeds the reader as a connection does, `piece` bytes at a time.
Outcome read(std::string_view bytes, size_t piece) {
  RequestReader reader(kHeaderLimit, kBodyLimit);
  Outcome outcome;
  size_t received = 0;
  for (const auto until : {RequestReader::Until::body, RequestReader::Until::end}) {
    while (!reader.has(until)) {
      boost::system::error_code ec;
      const size_t waiting = received - outcome.used;
      const size_t used =
          waiting == 0 ? 0 : reader.put(boost::asio::buffer(bytes.data() + outcome.used, waiting), until, ec);
      PAGODA_CHECK(used <= waiting);
      outcome.used += used;
      if (ec) return {};
      if (used > 0) continue;
      if (received == bytes.size()) {
        reader.put_end(ec);
        if (ec || !reader.has(until)) return {};
        continue;
      }
      received = std::min(received + piece, bytes.size());
    }
    if (until == RequestReader::Until::body) outcome.request = reader.take_head();
  }
  outcome.request->body = reader.take_body();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = read(bytes, bytes.size() + 1);
  if (!whole.request) return 0;
  PAGODA_CHECK(whole.request->body.size() <= kBodyLimit);
  PAGODA_CHECK(!whole.request->method.empty());
  PAGODA_CHECK(whole.request->path.find('?') == std::string::npos);
  const Outcome cut = read(bytes, size_t{data[0]} + 1);
  PAGODA_CHECK(cut.request.has_value(), "pieces of {} change the outcome", data[0] + 1);
  PAGODA_CHECK(cut.request->body == whole.request->body && cut.request->headers == whole.request->headers);
  return 0;
}
