// A plain blocking HTTP/1.1 client: what it sends is in the test's hands, byte by byte.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pagoda::testing {

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  bool complete = false;                       // the body ended as announced
};

class HttpClient {
 public:
  // Connects to 127.0.0.1. A small receive buffer makes the server feel a client that does not read.
  explicit HttpClient(uint16_t port, int receive_buffer_bytes = 0);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool send(std::string_view bytes);
  // One whole reply; status 0 if the connection ended before its head. Waits a minute at most for each piece.
  HttpReply receive(std::string_view method = "GET");
  HttpReply get(const std::string& path, const std::string& headers = {});
  HttpReply post(const std::string& path, const std::string& body, const std::string& headers = {});
  // Reads on until `text` was received after the last reply; false at the end of the connection.
  bool receive_until(std::string_view text);
  // What one read gives, dropped.
  bool receive_some();
  // Nothing more will come: the server has closed.
  bool closed_by_peer();
  void close();

 private:
  bool read_more();
  bool read_chunks(HttpReply& reply);

  int socket_ = -1;
  std::string buffer_;
};

std::string post_request(const std::string& path, const std::string& body, const std::string& headers = {});

}  // namespace pagoda::testing
