#include "server/endpoint.h"

namespace pagoda {

std::span<const Route> all_routes() {
  using Access = Route::Access;
  using Needs = Route::Needs;
  static constexpr Route kRoutes[] = {
      {"GET", "/health", Access::open, Needs::nothing, get_health},
      {"GET", "/v1/health", Access::open, Needs::nothing, get_health},
      {"GET", "/ping", Access::open, Needs::nothing, get_health},
      {"GET", "/ready", Access::open, Needs::nothing, get_ready},
      {"GET", "/metrics", Access::open, Needs::nothing, get_metrics},
      {"GET", "/version", Access::open, Needs::nothing, get_version},
      {"GET", "/openapi.json", Access::open, Needs::nothing, get_openapi},
      {"GET", "/load", Access::open, Needs::model, get_load},
      {"GET", "/v1/models", Access::key, Needs::model, list_models},
      {"GET", "/v1/models/*", Access::key, Needs::model, get_model},
      {"POST", "/v1/chat/completions", Access::key, Needs::model, post_chat_completions},
      {"POST", "/v1/completions", Access::key, Needs::model, post_completions},
      {"POST", "/v1/embeddings", Access::key, Needs::model, post_embeddings},
      {"POST", "/v1/predict", Access::key, Needs::model, post_predict},
      {"POST", "/tokenize", Access::key, Needs::model, post_tokenize},
      {"POST", "/detokenize", Access::key, Needs::model, post_detokenize},
      {"POST", "/apply-template", Access::key, Needs::model, post_apply_template},
      {"POST", "/v1/responses", Access::key, Needs::model, post_responses},
      {"POST", "/v1/messages", Access::key, Needs::model, post_messages},
      {"POST", "/v1/messages/count_tokens", Access::key, Needs::model, post_count_tokens},
  };
  return kRoutes;
}

}  // namespace pagoda
