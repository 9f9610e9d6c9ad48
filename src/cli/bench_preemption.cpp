// What preemption costs: the same requests undisturbed, and with sequences that lose their places at random
// and take them again in the next step. Tokens must be the same.
#include <random>

#include <boost/json.hpp>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/json.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/token_collector.h"

namespace pagoda {

namespace {

struct Run {
  double seconds = 0;
  std::vector<std::vector<int32_t>> outputs;
};

// A sequence gives up place and pages in one step and may run again in the next.
void preempt(Engine& engine, RequestId id) {
  engine.park(id);
  engine.step();
  engine.resume(id);
}

// Spreads num_preemptions over the steps. `salt`: other prompts, so that no turn finds those of another.
Result<Run> run_once(Engine& engine, const BenchPreemptionArguments& arguments, int64_t num_preemptions,
                     int64_t salt) {
  std::vector<std::shared_ptr<TokenCollector>> sinks;
  std::vector<RequestId> ids;
  const int64_t vocab_size = engine.model_info().vocab_size;
  for (int32_t i = 0; i < arguments.sequences; ++i) {
    sinks.push_back(std::make_shared<TokenCollector>());
    std::vector<int32_t> prompt = arbitrary_tokens(arguments.prompt_tokens, vocab_size);
    prompt[0] = static_cast<int32_t>((salt * arguments.sequences + i) % vocab_size);
    Request request{.prompt = std::move(prompt),
                    .sampling = {.temperature = 1, .seed = static_cast<uint64_t>(i)},
                    .max_tokens = arguments.tokens,
                    .ignore_eos = true};
    PAGODA_TRY(const RequestId id, engine.submit(std::move(request), sinks.back()));
    ids.push_back(id);
  }
  std::mt19937_64 random(arguments.seed);
  const SteadyClock clock;
  const int64_t start_ns = clock.now_ns();
  const auto num_known = [&] {
    int64_t count = 0;
    for (const auto& sink : sinks) count += std::ssize(sink->tokens);
    return count;
  };
  const int64_t num_tokens = arguments.sequences * arguments.tokens;
  int64_t num_done = 0;
  while (engine.step()) {
    while (num_done < num_preemptions && num_known() * (num_preemptions + 1) >= (num_done + 1) * num_tokens) {
      const size_t victim = random() % ids.size();
      if (!sinks[victim]->done) preempt(engine, ids[victim]);
      ++num_done;
    }
  }
  Run run{.seconds = static_cast<double>(clock.now_ns() - start_ns) * 1e-9};
  for (const auto& sink : sinks) {
    PAGODA_TRY_STATUS(sink->status);
    run.outputs.push_back(std::move(sink->tokens));
  }
  return run;
}

}  // namespace

Status execute(const BenchPreemptionArguments& arguments) {
  EngineOptions options;
  options.max_sequences = arguments.sequences;
  PAGODA_TRY(LoadedEngine loaded,
             load_with_progress(arguments.model.model, engine_options(arguments.model, options)));
  Engine& engine = *loaded.engine;
  if (const int64_t wanted = arguments.prompt_tokens + arguments.tokens; wanted > engine.config().max_context)
    return fail(ErrorCode::invalid_argument, "{} tokens are wanted, but the context holds {}", wanted,
                engine.config().max_context);
  std::vector<double> plain;
  std::vector<double> preempted;
  std::vector<double> cost;
  Progress progress("measuring");
  for (int turn = 0; turn <= arguments.repeat; ++turn) {
    PAGODA_TRY(const Run without, run_once(engine, arguments, 0, 2 * turn));
    PAGODA_TRY(const Run with, run_once(engine, arguments, arguments.preemptions, 2 * turn));
    PAGODA_TRY(const Run again, run_once(engine, arguments, arguments.preemptions, 2 * turn + 1));
    PAGODA_TRY(const Run alone, run_once(engine, arguments, 0, 2 * turn + 1));
    if (without.outputs != with.outputs || again.outputs != alone.outputs)
      return fail(ErrorCode::internal, "preempted sequences gave other tokens");
    progress.update(static_cast<double>(turn + 1) / (arguments.repeat + 1));
    if (turn == 0) continue;  // warms caches
    // Plain, preempted, preempted, plain, on prompts that are new, known, new, known: neither what drifts nor
    // what is known favours one of the two.
    plain.push_back((without.seconds + alone.seconds) / 2);
    preempted.push_back((with.seconds + again.seconds) / 2);
    cost.push_back(preempted.back() / plain.back() - 1);
  }
  const Spread plain_seconds = spread_of(std::move(plain));
  const Spread preempted_seconds = spread_of(std::move(preempted));
  const Spread relative_cost = spread_of(std::move(cost));
  if (arguments.json)
    print_line(to_json(boost::json::object{{"bench", "preemption"},
                                           {"sequences", arguments.sequences},
                                           {"prompt_tokens", arguments.prompt_tokens},
                                           {"tokens", arguments.tokens},
                                           {"preemptions", arguments.preemptions},
                                           {"repeat", arguments.repeat},
                                           {"identical", true},
                                           {"seconds", to_object(plain_seconds)},
                                           {"preempted_seconds", to_object(preempted_seconds)},
                                           {"cost", to_object(relative_cost)}}));
  else
    print_line(
        fmt::format("{} preemptions: {:.2f} s instead of {:.2f} s, {:.1f} % more ({:.1f} … {:.1f}); "
                    "all tokens were the same",
                    arguments.preemptions, preempted_seconds.median, plain_seconds.median,
                    100 * relative_cost.median, 100 * relative_cost.min, 100 * relative_cost.max));
  return {};
}

}  // namespace pagoda
