// The engine in virtual time: exact times under costs that can be added up by hand.
#include <algorithm>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "cli/trace/cost_model_file.h"
#include "cli/trace/page_usage.h"
#include "cli/trace/simulator.h"
#include "cli/trace/timeline.h"

namespace pagoda {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(Timeline, MeetsEventsAtTheirTimes) {
  std::vector<std::pair<size_t, int64_t>> met;
  Timeline* clock = nullptr;
  Timeline timeline({0, 5, 5, 9}, [&](size_t i) { met.emplace_back(i, clock->now_ns()); });
  clock = &timeline;
  timeline.advance_to(4);
  EXPECT_EQ(timeline.now_ns(), 4);
  EXPECT_EQ(timeline.next_event_ns(), 5);
  timeline.advance_to(8);
  EXPECT_EQ(timeline.now_ns(), 8);
  timeline.advance_to(9);
  EXPECT_FALSE(timeline.has_event());
  const std::vector<std::pair<size_t, int64_t>> expected = {{0, 0}, {1, 5}, {2, 5}, {3, 9}};
  EXPECT_EQ(met, expected);
}

TEST(PageUsage, CountsSharedPagesOnce) {
  PageUsage usage;
  const std::vector<PageId> first = {3, 1};
  const std::vector<PageId> second = {3, 7};
  // 16 shared tokens, then 4 and 2 of 16 slots: 22 of 48.
  const std::vector<SequenceSlice> sequences = {
      {.token_begin = 0, .num_tokens = 1, .first_position = 19, .page_table = first},
      {.token_begin = 1, .num_tokens = 2, .first_position = 16, .page_table = second}};
  EXPECT_DOUBLE_EQ(usage.utilisation(), 1);
  usage.add({.sequences = sequences}, 1);
  EXPECT_DOUBLE_EQ(usage.utilisation(), 22.0 / 48);
  // A step of twice the time counts twice: 20 of 32.
  usage.add({.sequences = std::span(sequences).first(1)}, 2);
  EXPECT_DOUBLE_EQ(usage.utilisation(), (22.0 + 40) / (48 + 64));
}

// A second for each step, and one for each token.
CostModel plain_costs() {
  CostVector seconds{};
  seconds[static_cast<size_t>(CostTerm::pass)] = 1;
  seconds[static_cast<size_t>(CostTerm::sequences)] = 1;
  return CostModel(AttentionReach(), seconds);
}

TraceRequest request(int64_t arrival_s, int64_t prompt, int64_t output) {
  return {.arrival_ns = arrival_s * kSecond, .num_prompt_tokens = prompt, .num_output_tokens = output};
}

Trace make_trace(std::vector<TraceRequest> requests) {
  return {.header = "{\"trace\": \"test\"}", .requests = std::move(requests)};
}

Simulation run(const Trace& trace, SimulationOptions options = {}) {
  options.costs = plain_costs();
  options.engine.policy = "fcfs";
  Result<Simulation> simulation = simulate(trace, options);
  EXPECT_TRUE(simulation) << simulation.error().message;
  return *std::move(simulation);
}

TEST(Simulator, OneRequestTakesItsSteps) {
  SimulationOptions options;
  options.engine.prefill_chunk = 100;
  const Simulation simulation = run(make_trace({request(10, 250, 4)}), options);
  const TraceOutcome& outcome = simulation.outcomes.at(0);
  // Three chunks, the last of which gives a token; then three steps; two seconds each.
  EXPECT_EQ(outcome.arrival_ns, 10 * kSecond);
  EXPECT_EQ(outcome.first_token_ns, 16 * kSecond);
  EXPECT_EQ(outcome.end_ns, 22 * kSecond);
  EXPECT_EQ(outcome.largest_gap_ns, 2 * kSecond);
  EXPECT_EQ(outcome.num_output_tokens, 4);
  EXPECT_EQ(simulation.num_steps, 6);
  EXPECT_DOUBLE_EQ(simulation.busy_seconds, 12);
  EXPECT_EQ(simulation.num_preemptions, 0);
}

TEST(Simulator, ArrivalDuringAStepCountsFromThen) {
  const Simulation simulation = run(make_trace({request(0, 16, 3), request(3, 16, 1)}));
  // Steps end at 2, 4 and, with both sequences, 7.
  EXPECT_EQ(simulation.outcomes[0].end_ns, 7 * kSecond);
  EXPECT_EQ(simulation.outcomes[1].arrival_ns, 3 * kSecond);
  EXPECT_EQ(simulation.outcomes[1].end_ns, 7 * kSecond);
  EXPECT_EQ(simulation.outcomes[0].largest_gap_ns, 3 * kSecond);
}

TEST(Simulator, SequencesWaitForPlaces) {
  SimulationOptions options;
  options.engine.max_sequences = 1;
  const Simulation simulation = run(make_trace({request(0, 16, 5), request(0, 16, 1)}), options);
  EXPECT_EQ(simulation.outcomes[0].end_ns, 10 * kSecond);
  EXPECT_EQ(simulation.outcomes[1].end_ns, 12 * kSecond);
}

TEST(Simulator, WaitingIsTimeInWhichNoStepServes) {
  SimulationOptions options;
  options.engine.max_sequences = 2;
  // The third waits for a place; the first two share each step, which is no waiting.
  const Simulation simulation =
      run(make_trace({request(0, 16, 3), request(0, 16, 3), request(1, 16, 1)}), options);
  EXPECT_EQ(simulation.outcomes[0].end_ns, 9 * kSecond);
  EXPECT_EQ(simulation.outcomes[0].waited_ns, 0);
  EXPECT_EQ(simulation.outcomes[1].waited_ns, 0);
  EXPECT_EQ(simulation.outcomes[2].end_ns, 11 * kSecond);
  EXPECT_EQ(simulation.outcomes[2].waited_ns, 8 * kSecond);
}

TEST(Simulator, ForecastsAreOfTheTimeAtWhichRequestsCome) {
  SimulationOptions options;
  options.engine.max_sequences = 1;
  // Two seconds a step; the second comes in the middle of one, when nobody knows yet how long outputs are.
  const Simulation simulation = run(make_trace({request(0, 16, 5), request(3, 16, 1)}), options);
  EXPECT_NEAR(simulation.outcomes[0].forecast_ttft_seconds, 2, 1e-9);
  EXPECT_GT(simulation.outcomes[1].forecast_ttft_seconds, simulation.outcomes[1].ttft_seconds());
}

TEST(Simulator, RequestsMayAskForMoreThanTheyGet) {
  const Trace trace = make_trace({request(0, 16, 5), request(0, 16, 3), request(4, 16, 1)});
  SimulationOptions options;
  options.engine.max_sequences = 2;
  const Simulation exact = run(trace, options);
  options.engine.max_context = 1000;
  options.max_tokens = 500;
  const Simulation bounded = run(trace, options);
  EXPECT_EQ(bounded.num_steps, exact.num_steps);
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    EXPECT_EQ(bounded.outcomes[i].error, "");
    EXPECT_EQ(bounded.outcomes[i].num_output_tokens, trace.requests[i].num_output_tokens);
    EXPECT_EQ(bounded.outcomes[i].end_ns, exact.outcomes[i].end_ns);
  }
}

TEST(Simulator, ClientsShareALevelOfMlfq) {
  Trace trace = make_trace({});
  for (int64_t i = 0; i < 9; ++i) {
    trace.requests.push_back(request(0, 16, 1));
    trace.requests.back().key = i < 8 ? "many" : "one";
  }
  SimulationOptions options{.costs = plain_costs()};
  options.engine.policy = "mlfq";
  options.engine.max_sequences = 1;
  const Result<Simulation> simulation = simulate(trace, options);
  ASSERT_TRUE(simulation) << simulation.error().message;
  EXPECT_EQ(simulation->outcomes[8].end_ns, 4 * kSecond) << "after the first of the other client";
}

CostModel small_costs() {
  CostVector seconds{};
  seconds[static_cast<size_t>(CostTerm::pass)] = 0.002;
  seconds[static_cast<size_t>(CostTerm::more_tokens)] = 0.0005;
  seconds[static_cast<size_t>(CostTerm::sequences)] = 0.0002;
  return CostModel(AttentionReach(), seconds);
}

double mean(const std::vector<TraceRequest>& requests,
            const std::function<double(const TraceRequest&)>& value) {
  double sum = 0;
  for (const TraceRequest& request : requests) sum += value(request);
  return sum / static_cast<double>(requests.size());
}

// What docs/scheduling.md promises: a request takes no longer than the greater of 30 times its own time (with
// 16 tokens at least) and
// 3.5 times its time by first come, first served (more where its prompt makes it longer than usual, up to
// four times that), and then what came before it.
void expect_bounded(const Trace& trace) {
  constexpr int32_t kChunk = 256;
  SimulationOptions options{.costs = small_costs()};
  options.engine.max_sequences = 8;
  options.engine.policy = "fcfs";
  const Result<Simulation> fcfs = simulate(trace, options);
  options.engine.policy = "mlfq";
  const Result<Simulation> mlfq = simulate(trace, options);
  ASSERT_TRUE(fcfs && mlfq);
  const auto usual_output = static_cast<int64_t>(
      mean(trace.requests, [](const TraceRequest& r) { return static_cast<double>(r.num_output_tokens); }));
  const double usual = mean(trace.requests, [&](const TraceRequest& r) {
    return isolated_seconds(options.costs, r.num_prompt_tokens, r.num_output_tokens, kChunk);
  });
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    const TraceRequest& wish = trace.requests[i];
    const double alone = isolated_seconds(options.costs, wish.num_prompt_tokens,
                                          std::max<int64_t>(wish.num_output_tokens, 16), kChunk);
    const double expected = isolated_seconds(options.costs, wish.num_prompt_tokens, usual_output, kChunk);
    const double by_arrival = fcfs->outcomes[i].jct_seconds();
    const double bound =
        std::max(30 * alone, 3.5 * std::clamp(expected / usual, 1.0, 4.0) * by_arrival) + by_arrival;
    // Half as much again: lengths of outputs are not known when it comes.
    EXPECT_LE(mlfq->outcomes[i].jct_seconds(), 1.5 * bound) << i;
  }
}

TEST(Simulator, MlfqKeepsItsBoundUnderEndlessShortRequestsAndALongOne) {
  for (const int64_t gap_ms : {40, 18, 12}) {  // idle at times, busy, and far too much
    Trace trace = make_trace({});
    for (int64_t i = 0; i < 3000; ++i) {
      trace.requests.push_back(
          {.arrival_ns = i * gap_ms * 1'000'000, .num_prompt_tokens = 30, .num_output_tokens = 8});
      if (i == 150)
        trace.requests.push_back(
            {.arrival_ns = i * gap_ms * 1'000'000, .num_prompt_tokens = 2000, .num_output_tokens = 200});
    }
    expect_bounded(trace);
  }
}

TEST(Simulator, MlfqKeepsItsBoundWhereShortPromptsHaveLongOutputs) {
  Trace trace = make_trace({});
  for (int64_t i = 0; i < 600; ++i)
    trace.requests.push_back({.arrival_ns = i * 60'000'000,
                              .num_prompt_tokens = 8 + i * 37 % 90,
                              .num_output_tokens = i % 10 == 0 ? 600 : 10});
  expect_bounded(trace);
}

TEST(Simulator, SharedPrefixesAreCached) {
  Trace trace = make_trace({request(0, 64, 1), request(10, 64, 1), request(20, 64, 1)});
  trace.requests[0].prefix = trace.requests[1].prefix = {{"system", 48}};
  EXPECT_EQ(run(trace).outcomes[1].num_cached_tokens, 48);
  EXPECT_EQ(run(trace).outcomes[2].num_cached_tokens, 0);
  SimulationOptions options;
  options.engine.prefix_cache = false;
  EXPECT_EQ(run(trace, options).outcomes[1].num_cached_tokens, 0);
}

TEST(Simulator, TooFewPagesPreempt) {
  // Two sequences of 40 tokens at the end in 4 pages.
  SimulationOptions options;
  options.kv_tokens = 64;
  options.engine.max_sequences = 2;
  const Simulation simulation = run(make_trace({request(0, 20, 20), request(0, 20, 20)}), options);
  EXPECT_EQ(simulation.kv_tokens, 64);
  EXPECT_GT(simulation.num_preemptions, 0);
  for (const TraceOutcome& outcome : simulation.outcomes) EXPECT_EQ(outcome.num_output_tokens, 20);
}

TEST(Simulator, TooLittleRoomNamesItsOwnOption) {
  SimulationOptions options{.kv_tokens = 16};
  options.engine.max_sequences = 2;
  const auto simulation = simulate(make_trace({request(0, 16, 2)}), options);
  ASSERT_FALSE(simulation);
  EXPECT_NE(simulation.error().message.find("--kv-tokens 16 "), std::string::npos)
      << simulation.error().message;
  EXPECT_EQ(simulation.error().message.find("--max-kv"), std::string::npos);
}

TEST(Simulator, RefusalsAreOutcomes) {
  SimulationOptions options;
  options.engine.max_sequences = 1;
  options.engine.max_queued_requests = 1;
  const Simulation simulation =
      run(make_trace({request(0, 16, 9), request(1, 16, 1), request(2, 16, 1)}), options);
  EXPECT_EQ(simulation.outcomes[0].error, "");
  EXPECT_EQ(simulation.outcomes[1].error, "");
  EXPECT_EQ(simulation.outcomes[2].error, to_string(ErrorCode::overloaded));
  EXPECT_EQ(simulation.outcomes[2].end_ns, 2 * kSecond);
}

TEST(Simulator, PagesOfOneSequenceAreFilledAsItGrows) {
  // Steps see 24, 25 and 26 of 32 slots.
  EXPECT_DOUBLE_EQ(run(make_trace({request(0, 24, 3)})).kv_utilisation, 75.0 / 96);
}

TEST(Simulator, SameArgumentsSameOutcomes) {
  std::vector<TraceRequest> requests;
  for (int64_t i = 0; i < 200; ++i) requests.push_back(request(i * 3, 1 + i * 37 % 500, 1 + i * 11 % 60));
  const Trace trace = make_trace(std::move(requests));
  SimulationOptions options;
  options.kv_tokens = 2048;
  const Simulation a = run(trace, options);
  const Simulation b = run(trace, options);
  EXPECT_EQ(a.num_steps, b.num_steps);
  EXPECT_EQ(a.num_preemptions, b.num_preemptions);
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    EXPECT_EQ(a.outcomes[i].first_token_ns, b.outcomes[i].first_token_ns);
    EXPECT_EQ(a.outcomes[i].end_ns, b.outcomes[i].end_ns);
    EXPECT_EQ(a.outcomes[i].num_output_tokens, trace.requests[i].num_output_tokens);
  }
}

TEST(Simulator, OptionsThatNoEngineTakesAreErrors) {
  const Trace trace = make_trace({request(0, 16, 1)});
  SimulationOptions options{.costs = plain_costs()};
  options.engine.policy = "astrology";
  const auto simulation = simulate(trace, options);
  ASSERT_FALSE(simulation);
  EXPECT_NE(simulation.error().message.find("astrology"), std::string::npos);
}

}  // namespace
}  // namespace pagoda
