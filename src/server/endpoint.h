// One row per route; an endpoint is one function in a file of its own.
#pragma once

#include <span>
#include <string_view>

#include "server/app_context.h"
#include "server/http/handler.h"

namespace pagoda {

struct Route {
  std::string_view method;
  std::string_view path;  // exact, or a prefix that ends with "/*"
  enum class Access { open, key } access = Access::key;
  enum class Needs { nothing, model } needs = Needs::model;
  Answer (*endpoint)(AppContext&, HttpRequest) = nullptr;
};

// All routes of the server; the first that matches serves.
std::span<const Route> all_routes();

// ---- control, answered on the I/O thread ----
Answer get_health(AppContext& context, HttpRequest request);  // 200 while the process lives
Answer get_ready(AppContext& context, HttpRequest request);   // 503 while loading or draining
Answer get_metrics(AppContext& context, HttpRequest request);
Answer get_version(AppContext& context, HttpRequest request);
Answer get_openapi(AppContext& context, HttpRequest request);  // the API's description

// ---- the OpenAI API ----
Answer list_models(AppContext& context, HttpRequest request);
Answer get_model(AppContext& context, HttpRequest request);
Answer post_chat_completions(AppContext& context, HttpRequest request);
Answer post_completions(AppContext& context, HttpRequest request);
Answer post_embeddings(AppContext& context, HttpRequest request);
Answer post_responses(AppContext& context, HttpRequest request);

// ---- Anthropic's API ----
Answer post_messages(AppContext& context, HttpRequest request);
Answer post_count_tokens(AppContext& context, HttpRequest request);

// ---- beside it: vLLM's and llama.cpp's ----
Answer get_load(AppContext& context, HttpRequest request);
Answer post_predict(AppContext& context, HttpRequest request);
Answer post_tokenize(AppContext& context, HttpRequest request);
Answer post_detokenize(AppContext& context, HttpRequest request);
Answer post_apply_template(AppContext& context, HttpRequest request);

}  // namespace pagoda
