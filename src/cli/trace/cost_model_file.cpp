#include "cli/trace/cost_model_file.h"

#include <algorithm>
#include <vector>

#include <boost/json.hpp>

#include "cli/json.h"
#include "cli/trace/recorded_costs.h"

namespace pagoda {

namespace {

namespace json = boost::json;

Result<CostModel> parse_cost_model(const json::object& object) {
  const json::value* given = object.if_contains("coefficients");
  if (!given || !given->is_object())
    return fail(ErrorCode::invalid_argument, "'coefficients' must be an object");
  CostVector seconds{};
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    const std::string_view name = to_string(static_cast<CostTerm>(i));
    const json::value* value = given->get_object().if_contains(name);
    if (!value || !value->is_number() || value->to_number<double>() < 0)
      return fail(ErrorCode::invalid_argument, "'coefficients' must have seconds for '{}'", name);
    seconds[i] = value->to_number<double>();
  }
  std::vector<int64_t> windows;
  if (const json::value* list = object.if_contains("layer_windows")) {
    if (!list->is_array()) return fail(ErrorCode::invalid_argument, "'layer_windows' must be a list");
    for (const json::value& window : list->get_array()) {
      if (!window.is_int64() || window.get_int64() < 0)
        return fail(ErrorCode::invalid_argument, "'layer_windows' must be numbers of positions");
      windows.push_back(window.get_int64());
    }
  }
  return CostModel(AttentionReach(windows), seconds);
}

}  // namespace

json::object to_object(const CostModel& model, std::span<const int64_t> layer_windows) {
  json::object coefficients;
  for (size_t i = 0; i < kNumCostTerms; ++i)
    coefficients[to_string(static_cast<CostTerm>(i))] = model.coefficients()[i];
  return {{"coefficients", coefficients}, {"layer_windows", json::value_from(layer_windows)}};
}

Result<CostModelFile> read_cost_model(const std::string& path) {
  CostModelFile file;
  if (is_recording(path)) {
    PAGODA_TRY(file.recording, read_recording(path));
    file.model = fit_costs(*file.recording);
    return file;
  }
  bool is_found = false;
  PAGODA_TRY_STATUS(for_each_line(path, [&](std::string_view line) -> Status {
    PAGODA_TRY(const json::object object, json_object_of(line));
    if (is_found || !object.contains("coefficients")) return {};
    PAGODA_TRY(file.model, parse_cost_model(object));
    is_found = true;
    return {};
  }));
  if (!is_found)
    return fail(ErrorCode::invalid_argument, "{}: no line has 'coefficients'; 'bench cost-model' makes them",
                path);
  return file;
}

double isolated_seconds(const CostModel& model, int64_t num_prompt_tokens, int64_t num_output_tokens,
                        int64_t chunk) {
  double seconds = 0;
  for (int64_t first = 0; first < num_prompt_tokens; first += chunk) {
    const int64_t count = std::min(chunk, num_prompt_tokens - first);
    const int64_t num_rows = first + count == num_prompt_tokens ? 1 : 0;
    seconds += model.predict_alone({first, count, num_rows});
  }
  // The prompt's last step gave the first token.
  for (int64_t i = 0; i + 1 < num_output_tokens; ++i)
    seconds += model.predict_alone({num_prompt_tokens + i, 1, 1});
  return seconds;
}

}  // namespace pagoda
