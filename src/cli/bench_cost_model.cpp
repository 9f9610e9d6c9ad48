// How well the cost model foretells steps: an engine under mixed requests; the first half of the time fits
// the model, the second is compared with what the model said, as it was after the first half and as it goes
// on learning.
#include <algorithm>
#include <cmath>
#include <random>

#include <boost/json.hpp>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/trace/cost_model_file.h"

namespace pagoda {

namespace {

class SilentSink final : public RequestSink {
 public:
  void on_update(const SequenceUpdate&) override {}
  void on_prompt_logprobs(std::span<const TokenEvent>) override {}
  void on_done(const RequestTimings&, const Status&) override {}
};

struct Observed {
  StepWork work;
  double seconds = 0;
  double expected = 0;  // before it ran
  bool has_chunk() const { return work.attention_pairs > 0; }
};

// Submits requests of all sizes: lengths are log-uniform, and so is how many are under way.
class Workload {
 public:
  Workload(Engine& engine, uint64_t seed) : engine_(engine), random_(seed) {}

  // Between two steps.
  Status feed() {
    const EngineStats stats = engine_.stats();
    if (stats.num_waiting + stats.num_running >= wanted_) return {};
    if (random_() % 8 == 0) wanted_ = below_log(1, engine_.config().max_sequences);
    const int64_t longest = engine_.config().max_context;
    const int64_t max_tokens = below_log(4, std::min<int64_t>(128, longest / 4));
    const int64_t prompt_length = below_log(4, std::min<int64_t>(4096, longest - max_tokens));
    std::vector<int32_t> prompt(static_cast<size_t>(prompt_length));
    for (int32_t& token : prompt)
      token = static_cast<int32_t>(random_() % static_cast<uint64_t>(engine_.model_info().vocab_size));
    Request request{.prompt = std::move(prompt),
                    .sampling = {.temperature = 0},
                    .max_tokens = max_tokens,
                    .ignore_eos = true};
    PAGODA_TRY(const RequestId id, engine_.submit(std::move(request), std::make_shared<SilentSink>()));
    static_cast<void>(id);
    return {};
  }

 private:
  int64_t below_log(int64_t least, int64_t most) {
    const double share = static_cast<double>(random_() >> 11) * 0x1p-53;
    return static_cast<int64_t>(static_cast<double>(least) *
                                std::pow(static_cast<double>(most) / static_cast<double>(least), share));
  }

  Engine& engine_;
  std::mt19937_64 random_;
  int64_t wanted_ = 1;
};

// Of one kind of step.
struct Errors {
  std::string name;
  size_t num_steps = 0;
  double median_seconds = 0;
  double frozen_median = 0;  // by the model as fitted before
  double frozen_p95 = 0;
  double online_median = 0;  // by the model that learns from every step
  double online_p95 = 0;
};

double quantile(std::vector<double> values, double share) {
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size()));
  std::ranges::nth_element(values, place);
  return *place;
}

Errors errors_of(std::string name, std::span<const Observed> steps, const CostModel& frozen,
                 bool (*wanted)(const Observed&)) {
  std::vector<double> seconds;
  std::vector<double> frozen_errors;
  std::vector<double> online_errors;
  for (const Observed& step : steps) {
    if (!wanted(step)) continue;
    seconds.push_back(step.seconds);
    frozen_errors.push_back(std::abs(frozen.predict(step.work) / step.seconds - 1));
    online_errors.push_back(std::abs(step.expected / step.seconds - 1));
  }
  Errors errors{.name = std::move(name), .num_steps = seconds.size()};
  if (seconds.empty()) return errors;
  errors.median_seconds = quantile(seconds, 0.5);
  errors.frozen_median = quantile(frozen_errors, 0.5);
  errors.frozen_p95 = quantile(frozen_errors, 0.95);
  errors.online_median = quantile(online_errors, 0.5);
  errors.online_p95 = quantile(online_errors, 0.95);
  return errors;
}

boost::json::object to_object(const Errors& errors) {
  return {{"steps", errors.num_steps},
          {"median_seconds", errors.median_seconds},
          {"median_error", errors.frozen_median},
          {"p95_error", errors.frozen_p95},
          {"online_median_error", errors.online_median},
          {"online_p95_error", errors.online_p95}};
}

void print(const std::vector<Errors>& rows, std::span<const Observed> steps, const CostModel& costs,
           const Engine& engine, bool json) {
  std::vector<double> seconds;
  for (const Observed& step : steps) seconds.push_back(step.seconds);
  const double p99 = quantile(seconds, 0.99);
  const double bound = static_cast<double>(engine.config().max_step_ns) * 1e-9;
  if (json) {
    boost::json::object object = {{"bench", "cost-model"},
                                  {"architecture", engine.model_info().architecture},
                                  {"max_step_seconds", bound},
                                  {"p99_step_seconds", p99}};
    for (const Errors& errors : rows) object[errors.name] = to_object(errors);
    for (const auto& member : to_object(costs, engine.model_info().layer_windows))
      object[member.key()] = member.value();
    print_line(to_json(object));
    return;
  }
  print_line(bold(fmt::format("{:<8}{:>8}{:>13}   {:>8}{:>8}   {:>8}{:>8}", "steps", "number", "median ms",
                              "median %", "p95 %", "online", "p95 %"),
                  Stream::out));
  for (const Errors& errors : rows)
    print_line(fmt::format("{:<8}{:>8}{:>13.2f}   {:>8.1f}{:>8.1f}   {:>8.1f}{:>8.1f}", errors.name,
                           errors.num_steps, 1e3 * errors.median_seconds, 100 * errors.frozen_median,
                           100 * errors.frozen_p95, 100 * errors.online_median, 100 * errors.online_p95));
  print_line(fmt::format("99 % of the steps took at most {:.1f} ms; the bound is {:.0f} ms", 1e3 * p99,
                         1e3 * bound));
  for (size_t i = 0; i < kNumCostTerms; ++i)
    print_line(fmt::format("{:<16}{:>12.3f} us", to_string(static_cast<CostTerm>(i)),
                           1e6 * costs.coefficients()[i]));
}

}  // namespace

Status execute(const BenchCostModelArguments& arguments) {
  init_logging(arguments.model.log_level.value_or(LogLevel::warning));
  PAGODA_TRY(LoadedEngine loaded,
             load_with_progress(arguments.model.model, engine_options(arguments.model, arguments.engine)));
  Engine& engine = *loaded.engine;
  std::vector<Observed> steps;
  CostModel latest;
  engine.on_step([&](const Engine::StepReport& step) {
    steps.push_back({step.work, step.seconds, step.expected_seconds});
    latest = step.costs;
  });
  Workload workload(engine, arguments.seed);
  const SteadyClock clock;
  Progress progress("measuring");
  const auto run_for = [&](double seconds, double done) -> Status {
    const int64_t start_ns = clock.now_ns();
    for (double passed = 0; passed < seconds;
         passed = static_cast<double>(clock.now_ns() - start_ns) * 1e-9) {
      PAGODA_TRY_STATUS(workload.feed());
      engine.step();
      progress.update((done + passed) / arguments.seconds);
    }
    return {};
  };
  PAGODA_TRY_STATUS(run_for(arguments.seconds / 2, 0));
  const CostModel frozen = latest;
  steps.clear();
  PAGODA_TRY_STATUS(run_for(arguments.seconds / 2, arguments.seconds / 2));
  if (steps.empty()) return fail(ErrorCode::invalid_argument, "no step ended in the time; raise --seconds");
  const std::vector<Errors> rows = {
      errors_of("all", steps, frozen, [](const Observed&) { return true; }),
      errors_of("decode", steps, frozen, [](const Observed& step) { return !step.has_chunk(); }),
      errors_of("mixed", steps, frozen, [](const Observed& step) { return step.has_chunk(); })};
  print(rows, steps, latest, engine, arguments.json);
  return {};
}

}  // namespace pagoda
