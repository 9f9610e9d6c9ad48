#include "server/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

namespace pagoda::testing {

HttpClient::HttpClient(uint16_t port, int receive_buffer_bytes) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer_bytes > 0)
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
  const timeval limit{.tv_sec = 60, .tv_usec = 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) close();
}

HttpClient::~HttpClient() {
  close();
}

void HttpClient::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

bool HttpClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool HttpClient::read_more() {
  char piece[16384];
  const ssize_t received = ::recv(socket_, piece, sizeof(piece), 0);
  if (received <= 0) return false;
  buffer_.append(piece, static_cast<size_t>(received));
  return true;
}

bool HttpClient::receive_some() {
  const bool received = read_more();
  buffer_.clear();
  return received;
}

bool HttpClient::read_chunks(HttpReply& reply) {
  for (;;) {
    size_t line_end = 0;
    while ((line_end = buffer_.find("\r\n")) == std::string::npos)
      if (!read_more()) return false;
    const size_t length = std::strtoul(buffer_.c_str(), nullptr, 16);
    while (buffer_.size() < line_end + 2 + length + 2)
      if (!read_more()) return false;
    reply.body += buffer_.substr(line_end + 2, length);
    buffer_.erase(0, line_end + 2 + length + 2);
    if (length == 0) return true;
  }
}

HttpReply HttpClient::receive(std::string_view method) {
  HttpReply reply;
  size_t head_end = 0;
  while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos)
    if (!read_more()) return reply;
  const std::string head = buffer_.substr(0, head_end + 2);
  buffer_.erase(0, head_end + 4);
  reply.status = std::atoi(head.c_str() + std::string_view("HTTP/1.1 ").size());
  for (size_t line = head.find("\r\n") + 2; line < head.size();) {
    const size_t end = head.find("\r\n", line);
    const size_t colon = head.find(':', line);
    std::string name = head.substr(line, colon - line);
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    reply.headers[name] = head.substr(colon + 2, end - colon - 2);
    line = end + 2;
  }
  if (reply.status == 100) return reply;
  if (method == "HEAD") {
    reply.complete = true;
  } else if (reply.headers.contains("transfer-encoding")) {
    reply.complete = read_chunks(reply);
  } else if (reply.headers.contains("content-length")) {
    const size_t length = std::strtoul(reply.headers["content-length"].c_str(), nullptr, 10);
    while (buffer_.size() < length && read_more()) {
    }
    reply.body = buffer_.substr(0, length);
    reply.complete = reply.body.size() == length;
    buffer_.erase(0, length);
  } else {
    while (read_more()) {
    }
    reply.body = std::exchange(buffer_, {});
    reply.complete = true;
  }
  return reply;
}

bool HttpClient::receive_until(std::string_view text) {
  while (buffer_.find(text) == std::string::npos)
    if (!read_more()) return false;
  return true;
}

bool HttpClient::closed_by_peer() {
  char piece[1024];
  return buffer_.empty() && ::recv(socket_, piece, sizeof(piece), 0) == 0;
}

std::string post_request(const std::string& path, const std::string& body, const std::string& headers) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}Content-Length: "
      "{}\r\n\r\n{}",
      path, headers, body.size(), body);
}

HttpReply HttpClient::get(const std::string& path, const std::string& headers) {
  send(fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, headers));
  return receive();
}

HttpReply HttpClient::post(const std::string& path, const std::string& body, const std::string& headers) {
  send(post_request(path, body, headers));
  return receive();
}

}  // namespace pagoda::testing
