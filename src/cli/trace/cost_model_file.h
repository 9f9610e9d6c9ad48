// A cost model as JSON: what `bench cost-model --json` prints and `simulate` reads.
#pragma once

#include <optional>
#include <span>
#include <string>

#include <boost/json/fwd.hpp>

#include "base/result.h"
#include "cli/trace/step_recording.h"
#include "sched/cost_model.h"

namespace pagoda {

// {"coefficients": {"pass": seconds, …}, "layer_windows": [positions, …]}; every CostTerm by its name.
boost::json::object to_object(const CostModel& model, std::span<const int64_t> layer_windows);

struct CostModelFile {
  CostModel model = CostModel();
  std::optional<StepRecording> recording;  // that the model was fitted to
};
// The first line of a file that is such an object; members beside them do not matter. Or a recording of
// steps, which a model is fitted to then (recorded_costs.h). invalid_argument names the file and what is
// missing.
Result<CostModelFile> read_cost_model(const std::string& path);

// Seconds of a request that has the machine to itself and finds nothing in a cache: its prompt in steps of
// `chunk` tokens, then a step for each token.
double isolated_seconds(const CostModel& model, int64_t num_prompt_tokens, int64_t num_output_tokens,
                        int64_t chunk);

}  // namespace pagoda
