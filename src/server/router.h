// The application behind the transport: finds routes, checks keys and readiness, counts and logs.
#pragma once

#include "server/endpoint.h"
#include "server/openai/api_error.h"

namespace pagoda {

class Router final : public Handler {
 public:
  explicit Router(AppContext& context) : context_(context) {}

  std::optional<HttpResponse> admit(HttpRequest& head) override;
  Answer handle(HttpRequest request) override;
  HttpResponse fault(TransportFault fault, std::string_view path, std::string_view detail) override;
  void record(const RequestRecord& record) override;

 private:
  std::optional<HttpResponse> refuse(HttpRequest& head);
  ApiError transport_error(TransportFault fault, std::string_view detail) const;

  AppContext& context_;
};

}  // namespace pagoda
