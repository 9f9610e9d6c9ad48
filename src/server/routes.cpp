#include "server/endpoint.h"

namespace pagoda {

std::span<const Route> all_routes() {
  using Access = Route::Access;
  using Needs = Route::Needs;
  static constexpr Route kRoutes[] = {
      {"GET", "/health", Access::open, Needs::nothing, get_health},
      {"GET", "/v1/health", Access::open, Needs::nothing, get_health},
      {"GET", "/ready", Access::open, Needs::nothing, get_ready},
      {"GET", "/metrics", Access::open, Needs::nothing, get_metrics},
      {"GET", "/version", Access::open, Needs::nothing, get_version},
      {"GET", "/v1/models", Access::key, Needs::model, list_models},
      {"GET", "/v1/models/*", Access::key, Needs::model, get_model},
      {"POST", "/v1/chat/completions", Access::key, Needs::model, post_chat_completions},
      {"POST", "/v1/completions", Access::key, Needs::model, post_completions},
  };
  return kRoutes;
}

}  // namespace pagoda
