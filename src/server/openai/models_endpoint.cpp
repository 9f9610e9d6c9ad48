// GET /v1/models and /v1/models/{id}.
#include <algorithm>

#include <boost/json.hpp>

#include "server/endpoint.h"
#include "server/openai/api_error.h"

namespace pagoda {
namespace json = boost::json;

namespace {

// vLLM's clients read it; everything that this server does is allowed.
json::object permission(const ServedModel& model, const std::string& name) {
  return {{"id", "modelperm-" + name},
          {"object", "model_permission"},
          {"created", model.created},
          {"allow_create_engine", false},
          {"allow_sampling", true},
          {"allow_logprobs", true},
          {"allow_search_indices", false},
          {"allow_view", true},
          {"allow_fine_tuning", false},
          {"organization", "*"},
          {"group", nullptr},
          {"is_blocking", false}};
}

json::object describe(const ServedModel& model, const std::string& name) {
  const ModelInfo& info = model.engine->model_info();
  return {{"id", name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "pagoda"},
          {"root", model.names.front()},
          {"parent", nullptr},
          {"permission", json::array{permission(model, name)}},
          {"max_model_len", model.engine->config().max_context},
          {"meta", json::object{{"architecture", info.architecture},
                                {"n_ctx_train", info.max_context},
                                {"n_vocab", info.vocab_size},
                                {"n_params", info.num_parameters},
                                {"size", info.weight_bytes}}}};
}

// "%2F" and the like; anything else stays as it is.
std::string percent_decode(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

Answer list_models(AppContext& context, HttpRequest) {
  const auto model = context.model.get();
  json::array data;
  for (const std::string& name : model->names) data.push_back(describe(*model, name));
  return HttpResponse{.body = json::serialize(json::object{{"object", "list"}, {"data", std::move(data)}})};
}

Answer get_model(AppContext& context, HttpRequest request) {
  const auto model = context.model.get();
  const std::string name =
      percent_decode(std::string_view(request.path).substr(std::string_view("/v1/models/").size()));
  if (std::ranges::find(model->names, name) == model->names.end()) return to_response(model_not_found(name));
  return HttpResponse{.body = json::serialize(describe(*model, name))};
}

}  // namespace pagoda
