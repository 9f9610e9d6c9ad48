// What constrained output costs: steps of the engine with and without a constraint, in turns.
#include <algorithm>

#include <boost/json.hpp>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/token_collector.h"

namespace pagoda {

namespace {

// An array that goes on for longer than is measured, with strings, numbers, an enumeration and a nested list.
constexpr const char* kSchema = R"({"type":"array","minItems":1000,"items":{"type":"object","properties":{
  "name":{"type":"string","maxLength":40},"age":{"type":"integer","minimum":0,"maximum":150},
  "kind":{"enum":["person","company","place"]},"score":{"type":"number"},
  "tags":{"type":"array","items":{"type":"string"},"maxItems":5}},
  "required":["name","age","kind","score","tags"],"additionalProperties":false}})";
constexpr int64_t kWarmSteps = 4;  // prompts, and masks that are computed for the first time

struct Run {
  double step_ms = 0;  // the median
  std::vector<std::vector<int32_t>> outputs;
};

struct Measured {
  int32_t sequences = 0;
  float temperature = 0;
  Spread free_ms;
  Spread constrained_ms;
  Spread overhead;  // of neighbouring turns: constrained over free, less 1
  Spread mask_us;   // one thread, over the tokens of the last constrained turn
};

Result<Run> run_once(Engine& engine, const BenchConstraintArguments& arguments, int32_t sequences,
                     float temperature, const std::shared_ptr<const CompiledConstraint>& constraint) {
  std::vector<std::shared_ptr<TokenCollector>> sinks;
  PAGODA_TRY(const std::vector<int32_t> prompt,
             engine.tokenizer().encode("A list in JSON:\n", Specials::as_text));
  for (int32_t i = 0; i < sequences; ++i) {
    sinks.push_back(std::make_shared<TokenCollector>());
    Request request{.prompt = prompt,
                    .sampling = {.temperature = temperature, .seed = static_cast<uint64_t>(i)},
                    .max_tokens = arguments.tokens + kWarmSteps,
                    .ignore_eos = true,
                    .constraint = constraint};
    PAGODA_TRY(const RequestId id, engine.submit(std::move(request), sinks.back()));
    static_cast<void>(id);
  }
  const SteadyClock clock;
  std::vector<double> times;
  for (int64_t start_ns = clock.now_ns(); engine.step(); start_ns = clock.now_ns())
    times.push_back(static_cast<double>(clock.now_ns() - start_ns) * 1e-6);
  if (std::ssize(times) <= kWarmSteps + 1)
    return fail(ErrorCode::invalid_argument, "too few tokens to measure");
  Run run;
  run.step_ms = spread_of({times.begin() + kWarmSteps, times.end() - 1}).median;
  for (const auto& sink : sinks) {
    PAGODA_TRY_STATUS(sink->status);
    run.outputs.push_back(std::move(sink->tokens));
  }
  return run;
}

// The masks of a text that was generated, by one thread.
Result<Spread> time_masks(const CompiledConstraint& constraint,
                          const std::vector<std::vector<int32_t>>& outputs, int64_t vocab_size) {
  const SteadyClock clock;
  std::vector<uint32_t> words((static_cast<size_t>(vocab_size) + 31) / 32);
  std::vector<double> times;
  for (const std::vector<int32_t>& tokens : outputs) {
    PAGODA_TRY(Constraint state, constraint.start());
    for (const int32_t token : tokens) {
      const int64_t start_ns = clock.now_ns();
      PAGODA_TRY_STATUS(state.fill_mask(words));
      times.push_back(static_cast<double>(clock.now_ns() - start_ns) * 1e-3);
      PAGODA_TRY_STATUS(state.consume(token));
    }
  }
  return spread_of(std::move(times));
}

Result<Measured> measure(Engine& engine, const BenchConstraintArguments& arguments, int32_t sequences,
                         float temperature, const std::shared_ptr<const CompiledConstraint>& constraint) {
  std::vector<double> free;
  std::vector<double> constrained;
  std::vector<double> overhead;
  Run last;
  Progress progress("measuring");
  for (int turn = 0; turn <= arguments.repeat; ++turn) {
    PAGODA_TRY(const Run without, run_once(engine, arguments, sequences, temperature, nullptr));
    PAGODA_TRY(last, run_once(engine, arguments, sequences, temperature, constraint));
    progress.update(static_cast<double>(turn + 1) / (arguments.repeat + 1));
    if (turn == 0) continue;  // warms caches
    free.push_back(without.step_ms);
    constrained.push_back(last.step_ms);
    overhead.push_back(last.step_ms / without.step_ms - 1);
  }
  PAGODA_TRY(const Spread mask_us, time_masks(*constraint, last.outputs, engine.model_info().vocab_size));
  return Measured{sequences,
                  temperature,
                  spread_of(std::move(free)),
                  spread_of(std::move(constrained)),
                  spread_of(std::move(overhead)),
                  mask_us};
}

void print(const Measured& measured, const BenchConstraintArguments& arguments) {
  if (arguments.json) {
    print_line(to_json(boost::json::object{{"bench", "constraint"},
                                           {"sequences", measured.sequences},
                                           {"temperature", measured.temperature},
                                           {"tokens", arguments.tokens},
                                           {"repeat", arguments.repeat},
                                           {"free_step_ms", to_object(measured.free_ms)},
                                           {"constrained_step_ms", to_object(measured.constrained_ms)},
                                           {"overhead", to_object(measured.overhead)},
                                           {"mask_us", to_object(measured.mask_us)}}));
  } else {
    print_line(fmt::format("{:>4}{:>13.1f}{:>13.2f}{:>13.2f}   {:>7.1f}{:>7.1f}{:>7.1f} %{:>11.0f}{:>8.0f}",
                           measured.sequences, measured.temperature, measured.free_ms.median,
                           measured.constrained_ms.median, 100 * measured.overhead.min,
                           100 * measured.overhead.median, 100 * measured.overhead.max,
                           measured.mask_us.median, measured.mask_us.max));
  }
  print_now("");
}

}  // namespace

Status execute(const BenchConstraintArguments& arguments) {
  EngineOptions options;
  options.max_sequences = *std::ranges::max_element(arguments.sequences);
  PAGODA_TRY(LoadedEngine loaded,
             load_with_progress(arguments.model.model, engine_options(arguments.model, options)));
  Engine& engine = *loaded.engine;
  const SteadyClock clock;
  const int64_t start_ns = clock.now_ns();
  PAGODA_TRY(const ConstraintFactory factory,
             ConstraintFactory::create(*loaded.tokenizer, loaded.end_tokens));
  const int64_t built_ns = clock.now_ns();
  PAGODA_TRY(const auto constraint,
             factory.compile({.kind = ConstraintSource::Kind::json_schema,
                              .text = arguments.schema.empty() ? kSchema : arguments.schema}));
  const int64_t compiled_ns = clock.now_ns();
  if (!arguments.json) {
    print_line(fmt::format("tables of the vocabulary in {:.0f} ms, schema compiled in {:.1f} ms",
                           static_cast<double>(built_ns - start_ns) * 1e-6,
                           static_cast<double>(compiled_ns - built_ns) * 1e-6));
    print_line(
        bold("seqs  temperature   free step  constrained   overhead min median max   mask median us, max",
             Stream::out));
  }
  for (const int32_t sequences : arguments.sequences)
    for (const float temperature : {0.0f, 1.0f}) {
      PAGODA_TRY(const Measured measured, measure(engine, arguments, sequences, temperature, constraint));
      print(measured, arguments);
    }
  return {};
}

}  // namespace pagoda
