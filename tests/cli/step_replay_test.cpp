// Recordings of simulated runs, decided anew.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "cli/trace/cost_model_file.h"
#include "cli/trace/recorded_costs.h"
#include "cli/trace/simulator.h"
#include "cli/trace/step_replay.h"
#include "sched/scheduler_policy.h"
#include "support/temp_folder.h"

namespace pagoda {
namespace {

constexpr int64_t kMillisecond = 1'000'000;

CostModel costs() {
  CostVector seconds{};
  seconds[static_cast<size_t>(CostTerm::pass)] = 0.002;
  seconds[static_cast<size_t>(CostTerm::more_tokens)] = 0.0005;
  seconds[static_cast<size_t>(CostTerm::sequences)] = 0.0001;
  return CostModel(AttentionReach(), seconds);
}

// Bursts that share prefixes, over too few pages: requests wait, hit, and are preempted.
Trace busy_trace() {
  Trace trace{.header = "{\"trace\": \"busy\"}"};
  for (int64_t i = 0; i < 60; ++i)
    trace.requests.push_back({.arrival_ns = i / 6 * 45 * kMillisecond + i % 6,
                              .num_prompt_tokens = 100 + i * 17 % 90,
                              .num_output_tokens = 1 + i * 7 % 40,
                              .prefix = {{"group" + std::to_string(i % 3), 64}}});
  return trace;
}

class StepReplayTest : public ::testing::Test {
 protected:
  // A recording of the busy trace.
  std::string record(int64_t kv_tokens, std::string_view policy = "fcfs") {
    const std::string path = folder_.file("steps.jsonl");
    Result<std::shared_ptr<StepRecorder>> recorder = StepRecorder::create(path);
    EXPECT_TRUE(recorder) << recorder.error().message;
    SimulationOptions options{.kv_tokens = kv_tokens, .costs = costs(), .recorder = *std::move(recorder)};
    options.engine.policy = policy;
    options.engine.max_sequences = 6;
    options.engine.max_step_ms = 20;
    const Result<Simulation> simulation = simulate(busy_trace(), options);
    EXPECT_TRUE(simulation) << simulation.error().message;
    num_steps_ = simulation->num_steps;
    num_preemptions_ = simulation->num_preemptions;
    return path;
  }
  StepRecording read(const std::string& path) {
    Result<StepRecording> recording = read_recording(path);
    EXPECT_TRUE(recording) << recording.error().message;
    return *std::move(recording);
  }
  static StepReplay replay(const StepRecording& recording) {
    const Result<StepReplay> result = replay_steps(recording);
    EXPECT_TRUE(result) << result.error().message;
    return *result;
  }

  testing::TempFolder folder_;
  int64_t num_steps_ = 0;
  int64_t num_preemptions_ = 0;
};

TEST_F(StepReplayTest, ARecordingThatTheDiskDoesNotTakeIsAnError) {
  const std::shared_ptr<StepRecorder> recorder = *StepRecorder::create("/dev/full");
  ASSERT_TRUE(simulate(busy_trace(), {.kv_tokens = 8192, .costs = costs(), .recorder = recorder}));
  const Status finished = recorder->finish();
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, ErrorCode::io);
  EXPECT_NE(finished.error().message.find("/dev/full"), std::string::npos);
}

TEST_F(StepReplayTest, EveryStepIsDecidedTheSame) {
  for (const std::string_view policy : scheduler_policy_names())
    for (const int64_t kv_tokens : {8192, 640}) {
      const StepReplay result = replay(read(record(kv_tokens, policy)));
      EXPECT_EQ(result.difference, "") << policy;
      EXPECT_EQ(result.num_steps, num_steps_) << policy;
      EXPECT_EQ(result.num_requests, 60);
      // Only some take places where there are pages enough.
      if (kv_tokens == 640 || policy == "fcfs") {
        EXPECT_EQ(num_preemptions_ > 0, kv_tokens == 640) << policy;
      }
    }
}

// Also where a chunk ends one token before those that are known.
TEST_F(StepReplayTest, EveryTokenIsRecordedOnce) {
  int64_t num_tokens = 0;
  for (const TraceRequest& request : busy_trace().requests) num_tokens += request.num_output_tokens;
  for (const int64_t kv_tokens : {8192, 640}) {
    int64_t num_recorded = 0;
    for (const RecordedMoment& moment : read(record(kv_tokens)).moments)
      num_recorded +=
          std::ranges::count_if(moment.items, [](const RecordedItem& item) { return item.token >= 0; });
    EXPECT_EQ(num_recorded, num_tokens) << kv_tokens;
  }
}

TEST_F(StepReplayTest, AnotherDecisionIsNoticed) {
  StepRecording recording = read(record(8192));
  const size_t middle = recording.moments.size() / 2;
  ASSERT_FALSE(recording.moments[middle].items.empty());
  ++recording.moments[middle].items.back().num_tokens;
  const StepReplay result = replay(recording);
  EXPECT_NE(result.difference.find("instead of"), std::string::npos) << result.difference;
  EXPECT_LT(result.num_steps, num_steps_);
}

TEST_F(StepReplayTest, AMissingRequestIsNoticed) {
  StepRecording recording = read(record(8192));
  const auto last = std::ranges::find_if(recording.moments.rbegin(), recording.moments.rend(),
                                         [](const auto& m) { return !m.arrivals.empty(); });
  last->arrivals.pop_back();
  const StepReplay result = replay(recording);
  EXPECT_NE(result.difference, "");
  EXPECT_GT(result.num_steps, num_steps_ / 2);
}

TEST_F(StepReplayTest, CostsFittedToARecordingAreThoseOfTheRun) {
  StepRecording recording = read(record(8192));
  recording.costs = CostModel();  // no hint of what they are
  const CostModel fitted = fit_costs(recording);
  for (const int64_t num_tokens : {1, 20, 200}) {
    StepWork work;
    work.add({64, num_tokens, 1}, fitted.reach());
    EXPECT_NEAR(fitted.predict(work) / costs().predict(work), 1, 0.05) << num_tokens;
  }
}

// In the first half prompts are computed, on a machine that is twice as slow then.
TEST(FitCosts, APaceThatChangesIsNotTakenForWhatStepsHold) {
  StepRecording recording;
  int64_t now_ns = 0;
  for (int i = 0; i < 4000; ++i) {
    const bool has_chunk = i % 10 < (i < 2000 ? 8 : 2);
    RecordedMoment moment{.start_ns = now_ns};
    moment.items = {{.sequence = 1, .first_position = 64, .num_tokens = 1, .token = 3}};
    if (has_chunk) moment.items.push_back({.sequence = 2, .first_position = 0, .num_tokens = 8 + i % 32});
    StepWork work;
    for (const RecordedItem& item : moment.items)
      work.add({item.first_position, item.num_tokens, item.token >= 0 ? 1 : 0}, costs().reach());
    now_ns += std::llround(costs().predict(work) * (i < 2000 ? 2 : 1) * 1e9);
    moment.end_ns = now_ns;
    recording.moments.push_back(moment);
  }
  const CostModel fitted = fit_costs(recording);
  const auto seconds = [](const CostModel& model, int64_t num_tokens) {
    return model.predict_alone({64, num_tokens, 1});
  };
  EXPECT_NEAR(seconds(fitted, 32) / seconds(fitted, 1), seconds(costs(), 32) / seconds(costs(), 1), 0.5);
}

// A recording of one-token steps that take `factor` times what costs() say, each in a second of its own.
StepRecording recording_of(const std::vector<std::pair<int64_t, double>>& seconds_and_factors) {
  constexpr int64_t kFirstArrivalNs = 700 * kMillisecond;
  StepRecording recording;
  StepWork work;
  work.add({64, 1, 1}, costs().reach());
  for (const auto& [second, factor] : seconds_and_factors) {
    RecordedMoment moment{.start_ns = kFirstArrivalNs + second * 1000 * kMillisecond};
    if (recording.moments.empty()) moment.arrivals.push_back({.id = 1, .at_ns = kFirstArrivalNs});
    moment.end_ns = moment.start_ns + std::llround(factor * costs().predict(work) * 1e9);
    moment.items = {{.sequence = 1, .first_position = 64, .num_tokens = 1, .token = 3, .ended = true}};
    recording.moments.push_back(moment);
  }
  return recording;
}

TEST(Pace, IsThatOfTheTimeSinceTheFirstRequest) {
  const Pace pace = Pace::of(recording_of({{0, 1.5}, {1, 2.5}, {4, 0.5}}), costs());
  const std::pair<int64_t, double> expected[] = {{0, 2},   {1, 2},   {2, 2}, {3, 2},
                                                 {4, 0.5}, {5, 0.5}, {6, 1}, {100, 1}};
  for (const auto& [second, factor] : expected)
    EXPECT_NEAR(pace.time_of(0, second * 1000 * kMillisecond, 0.01).seconds / 0.01, factor, 1e-6) << second;
  EXPECT_EQ(Pace().time_of(0, 0, 0.01).seconds, 0.01);
}

TEST(Pace, GivesStepsTheUnevennessOfThoseOfLikeLength) {
  const Pace pace = Pace::of(recording_of({{0, 1.5}, {1, 2.5}, {12, 3}}), costs());
  StepWork work;
  work.add({64, 1, 1}, costs().reach());
  const double seconds = costs().predict(work);
  const auto factor = [&](int64_t nth, int64_t second, double predicted) {
    return pace.time_of(nth, second * 1000 * kMillisecond, predicted).seconds / predicted;
  };
  for (const auto& [nth, expected] : {std::pair(0, 1.5), {1, 2.5}, {2, 1.5}, {1001, 2.5}}) {
    EXPECT_NEAR(factor(nth, 0, seconds), expected, 1e-6) << nth;
    EXPECT_NEAR(factor(nth, 0, 8 * seconds), 2, 1e-6) << nth;
    EXPECT_NEAR(factor(nth, 12, seconds), 3, 1e-6) << nth;
  }
  EXPECT_NEAR(factor(1, 5, seconds), 2, 1e-6) << "nothing ran then";
}

TEST(Pace, WhatPassedBetweenStepsPassesBetweenThem) {
  StepRecording recording = recording_of({{0, 1}, {1, 1}});
  recording.moments.front().items.front().ended = false;  // so that all of the first second was its step's
  const Pace pace = Pace::of(recording, costs());
  StepWork work;
  work.add({64, 1, 1}, costs().reach());
  const double seconds = costs().predict(work);
  const Pace::StepTime first = pace.time_of(0, 0, seconds);
  EXPECT_NEAR(first.seconds, seconds, 1e-6);
  EXPECT_NEAR(first.between_seconds, 1 - seconds, 1e-6);
  EXPECT_EQ(pace.time_of(1, 0, seconds).between_seconds, 0);
}

TEST(Pace, StretchesTheStepsOfASimulation) {
  Trace trace{.header = "{\"trace\": \"two\"}"};
  for (const int64_t second : {10, 15})
    trace.requests.push_back(
        {.arrival_ns = second * 1000 * kMillisecond, .num_prompt_tokens = 100, .num_output_tokens = 5});
  SimulationOptions options{.costs = costs()};
  const Result<Simulation> even = simulate(trace, options);
  options.pace = Pace::of(recording_of({{0, 3}, {5, 0.5}}), costs());
  const Result<Simulation> uneven = simulate(trace, options);
  ASSERT_TRUE(even && uneven);
  const auto jct = [](const Simulation& simulation, size_t i) {
    return static_cast<double>(simulation.outcomes[i].end_ns - simulation.outcomes[i].arrival_ns);
  };
  EXPECT_NEAR(jct(*uneven, 0) / jct(*even, 0), 3, 1e-3);
  EXPECT_NEAR(jct(*uneven, 1) / jct(*even, 1), 0.5, 1e-3);
}

TEST_F(StepReplayTest, ACostModelKeepsTheRecordingThatItWasFittedTo) {
  const std::string path = record(8192);
  const auto recording = read_recording(path);
  const auto file = read_cost_model(path);
  ASSERT_TRUE(recording && file);
  EXPECT_EQ(file->model.coefficients(), fit_costs(*recording).coefficients());
  ASSERT_TRUE(file->recording);
  EXPECT_EQ(file->recording->moments.size(), recording->moments.size());
}

TEST_F(StepReplayTest, DamagedRecordingsAreRefused) {
  const auto refused = [&](const std::string& text) {
    const auto recording = read_recording(folder_.write("bad.jsonl", text));
    EXPECT_FALSE(recording) << text;
    return recording ? std::string() : recording.error().message;
  };
  EXPECT_NE(refused("{\"step\": 1, \"end\": 2, \"items\": []}\n").find("'recording'"), std::string::npos);
  EXPECT_NE(refused("{\"recording\": 1}\n").find("line 1"), std::string::npos);
  EXPECT_NE(refused("").find("without steps"), std::string::npos);
  std::ifstream file(record(8192));
  std::string first;
  std::getline(file, first);
  EXPECT_NE(refused(first + "\n{\"step\": 1, \"end\": 2, \"items\": [[1]]}\n").find("line 2"),
            std::string::npos);
  EXPECT_NE(refused(first + "\n{\"arrive\": 7, \"at\": 1, \"step\": 1, \"plain\": false, \"max_tokens\": 1, "
                            "\"priority\": 0, \"client\": 0, \"salt\": \"\", \"prompt\": [1]}\n")
                .find("request 7"),
            std::string::npos);
}

}  // namespace
}  // namespace pagoda
