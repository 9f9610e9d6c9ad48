// Trace files, the events of a completion, reports, cost models as JSON: without a server.
#include <numeric>

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "cli/json.h"
#include "cli/trace/cost_model_file.h"
#include "cli/trace/event_stream.h"
#include "cli/trace/trace_file.h"
#include "cli/trace/trace_report.h"
#include "support/temp_folder.h"

namespace pagoda {
namespace {

namespace json = boost::json;

constexpr TokenRange kIds = {100, 1099};
constexpr int64_t kSecond = 1'000'000'000;

class TraceFileTest : public ::testing::Test {
 protected:
  std::string write(const std::string& text) { return folder_.write("trace.jsonl", text); }
  void expect_refused(const std::string& line, const std::string& part) {
    const auto trace = read_trace(write("{\"trace\": \"t\"}\n" + line + "\n"));
    ASSERT_FALSE(trace) << line;
    EXPECT_EQ(trace.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(trace.error().message.find(part), std::string::npos) << trace.error().message;
  }
  testing::TempFolder folder_;
};

TEST_F(TraceFileTest, ReadsWhatTheGeneratorWrites) {
  const auto trace =
      read_trace(write("{\"trace\": \"agent\", \"seed\": 1}\n"
                       "{\"arrival\": 0.25, \"prompt_tokens\": 40, \"output_tokens\": 3, \"prefix\": "
                       "[[\"a\", 30], [\"b\", 5]], "
                       "\"key\": \"k\", \"class\": \"short\"}\n"
                       "{\"arrival\": 1, \"prompt_tokens\": 7, \"output_tokens\": 1, \"class\": \"\"}\n"));
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->header, "{\"trace\": \"agent\", \"seed\": 1}");
  ASSERT_EQ(trace->requests.size(), 2u);
  const TraceRequest& first = trace->requests[0];
  EXPECT_EQ(first.arrival_ns, kSecond / 4);
  EXPECT_EQ(first.num_prompt_tokens, 40);
  EXPECT_EQ(first.num_output_tokens, 3);
  ASSERT_EQ(first.prefix.size(), 2u);
  EXPECT_EQ(first.prefix[1].group, "b");
  EXPECT_EQ(first.prefix[1].num_tokens, 5);
  EXPECT_EQ(first.key, "k");
  EXPECT_EQ(first.class_name, "short");
  EXPECT_EQ(trace->requests[1].arrival_ns, kSecond);
}

TEST_F(TraceFileTest, RefusesWhatMakesNoSense) {
  expect_refused("[]", "line 2");
  expect_refused("{\"arrival\": -1, \"prompt_tokens\": 4, \"output_tokens\": 3}", "'arrival'");
  expect_refused("{\"arrival\": 0, \"prompt_tokens\": 0, \"output_tokens\": 3}", "'prompt_tokens'");
  expect_refused("{\"arrival\": 0, \"prompt_tokens\": 4}", "'output_tokens'");
  expect_refused("{\"arrival\": 0, \"prompt_tokens\": 4, \"output_tokens\": 3, \"prefix\": [[\"a\"]]}",
                 "'prefix'");
  expect_refused("{\"arrival\": 0, \"prompt_tokens\": 4, \"output_tokens\": 3, \"prefix\": [[\"a\", 5]]}",
                 "the prefix has 5 tokens");
  expect_refused("{\"arrival\": 0, \"prompt_tokens\": 4, \"output_tokens\": 3, \"key\": 1}", "'key'");
  expect_refused(
      "{\"arrival\": 2, \"prompt_tokens\": 4, \"output_tokens\": 3}\n"
      "{\"arrival\": 1, \"prompt_tokens\": 4, \"output_tokens\": 3}",
      "line 3");
  expect_refused("", "without requests");
  EXPECT_FALSE(read_trace(write("{\"arrival\": 0, \"prompt_tokens\": 4, \"output_tokens\": 3}\n")));
  EXPECT_EQ(read_trace("/no/such/file").error().code, ErrorCode::not_found);
}

// The tokens that two prompts have in common at their beginning.
int64_t common(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return std::ranges::mismatch(a, b).in1 - a.begin();
}

TEST(TracePrompt, AgreesExactlyWherePrefixesDo) {
  Trace trace{.header = "{\"trace\": \"t\"}"};
  trace.requests.assign(4, {.num_prompt_tokens = 200});
  trace.requests[0].prefix = {{"a", 100}, {"b", 50}};
  trace.requests[1].prefix = {{"a", 100}, {"c", 50}};
  trace.requests[2].prefix = {{"a", 80}};
  const auto prompt = [&](size_t i) { return make_prompt(trace, i, kIds, ""); };
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(prompt(i).size(), 200u);
    EXPECT_EQ(prompt(i), prompt(i));
    for (const int32_t id : prompt(i)) {
      EXPECT_GE(id, kIds.first);
      EXPECT_LE(id, kIds.last);
    }
  }
  // Neighbouring ids differ with a probability of 0.999 each: a few tokens more would need luck.
  EXPECT_EQ(common(prompt(0), prompt(1)), 100);
  EXPECT_EQ(common(prompt(0), prompt(2)), 80);
  EXPECT_EQ(common(prompt(0), prompt(3)), 0);
}

TEST(TracePrompt, OfAnotherSaltOrTraceIsAnother) {
  Trace trace{.header = "{\"trace\": \"t\"}"};
  trace.requests.assign(1, {.num_prompt_tokens = 64, .prefix = {{"a", 32}}});
  Trace other = trace;
  other.header = "{\"trace\": \"u\"}";
  const auto prompt = make_prompt(trace, 0, kIds, "");
  EXPECT_EQ(common(prompt, make_prompt(trace, 0, kIds, "salt")), 0);
  EXPECT_EQ(common(prompt, make_prompt(other, 0, kIds, "")), 32);
}

TEST(EventStream, ReadsEventsHoweverTheyAreCut) {
  const std::string text =
      ": ping\r\n\r\n"
      "data: {\"choices\": [{\"text\": \"a\\nb\"}]}\r\n\r\n"
      "data:{\"choices\":[{\"text\":\"\"}]}\n\n"
      "data: {\"choices\": [], \"usage\": {\"completion_tokens\": 5, \"prompt_tokens_details\": "
      "{\"cached_tokens\": 32}}}\n\n"
      "data: [DONE]\n\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    EventStream events;
    int num_with_text = 0;
    for (size_t begin = 0; begin < text.size(); begin += piece)
      num_with_text += events.push(std::string_view(text).substr(begin, piece)) ? 1 : 0;
    EXPECT_EQ(num_with_text, 1) << "in pieces of " << piece;
    EXPECT_EQ(events.num_output_tokens(), 5);
    EXPECT_EQ(events.num_cached_tokens(), 32);
    EXPECT_EQ(events.error(), "");
  }
}

TEST(EventStream, KnowsCachedTokensOfLlamaServer) {
  EventStream events;
  events.push(
      "data: {\"choices\": [], \"timings\": {\"cache_n\": 7}, \"usage\": {\"completion_tokens\": 2}}\n");
  EXPECT_EQ(events.num_cached_tokens(), 7);
}

TEST(EventStream, SaysWhatWentWrong) {
  EventStream failed;
  EXPECT_FALSE(failed.push("data: {\"error\": {\"message\": \"no\"}}\n"));
  EXPECT_EQ(failed.error(), "an error in the stream");
  EventStream damaged;
  EXPECT_FALSE(damaged.push("data: {\"choices\"\n"));
  EXPECT_NE(damaged.error(), "");
}

TraceOutcome outcome(int64_t arrival, int64_t first, int64_t end, int64_t tokens) {
  return {.arrival_ns = arrival * kSecond,
          .first_token_ns = first * kSecond,
          .end_ns = end * kSecond,
          .largest_gap_ns = kSecond / 2,
          .num_output_tokens = tokens};
}

TEST(TraceReport, SumsUpByClass) {
  Trace trace{.header = "{\"trace\": \"t\"}"};
  trace.requests = {
      {.arrival_ns = 0, .num_prompt_tokens = 10, .num_output_tokens = 5, .class_name = "a"},
      {.arrival_ns = kSecond, .num_prompt_tokens = 20, .num_output_tokens = 1, .class_name = "b"},
      {.arrival_ns = 2 * kSecond, .num_prompt_tokens = 30, .num_output_tokens = 2, .class_name = "a"}};
  std::vector<TraceOutcome> outcomes = {outcome(100, 102, 110, 5), outcome(101, 105, 105, 1), {}};
  outcomes[2].arrival_ns = 102 * kSecond;
  outcomes[2].error = "HTTP 429";
  outcomes[2].end_ns = 102 * kSecond;
  outcomes[0].num_cached_tokens = 8;
  outcomes[0].waited_ns = 4 * kSecond;
  const ReportOptions options{
      .objectives = {.ttft_seconds = 3, .tpot_seconds = 2},
      .isolated_seconds = [](const TraceRequest& r) { return static_cast<double>(r.num_output_tokens); }};
  const auto report = make_report(trace, outcomes, options);
  ASSERT_TRUE(report) << report.error().message;
  const json::value value = *report;
  const auto number = [&](const char* pointer) { return value.at_pointer(pointer).to_number<double>(); };
  EXPECT_DOUBLE_EQ(number("/seconds"), 10);
  EXPECT_DOUBLE_EQ(number("/output_tokens_per_second"), 0.6);
  EXPECT_EQ(number("/all/requests"), 3);
  EXPECT_EQ(number("/all/completed"), 2);
  EXPECT_EQ(number("/all/prompt_tokens"), 30);
  EXPECT_EQ(number("/all/cached_tokens"), 8);
  EXPECT_DOUBLE_EQ(number("/all/jct/mean"), 7);
  EXPECT_DOUBLE_EQ(number("/all/jct/p50"), 7);
  EXPECT_DOUBLE_EQ(number("/all/jct/max"), 10);
  EXPECT_DOUBLE_EQ(number("/all/ttft/mean"), 3);
  EXPECT_DOUBLE_EQ(number("/all/normalised_jct/mean"), 3);
  // 10 s for what takes 5, 4 s for what takes 1.
  EXPECT_DOUBLE_EQ(number("/all/slowdown/mean"), 3);
  EXPECT_DOUBLE_EQ(number("/all/delay_share"), 8.0 / 14);
  // Nothing is known of the waiting of the second.
  EXPECT_DOUBLE_EQ(number("/all/queue_share"), 4.0 / 10);
  EXPECT_TRUE(value.at_pointer("/classes/b/queue_share").is_null());
  // The first keeps both objectives, the second has its token late, the third none at all.
  EXPECT_DOUBLE_EQ(number("/all/goodput"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(number("/classes/a/tpot/mean"), 2);
  EXPECT_DOUBLE_EQ(number("/classes/a/largest_gap/max"), 0.5);
  EXPECT_TRUE(value.at_pointer("/classes/b/tpot").is_null());
  EXPECT_EQ(number("/errors/HTTP 429"), 1);
}

TEST(TraceReport, ForecastsAreJudgedWhereThereIsOne) {
  Trace trace{.header = "{\"trace\": \"t\"}"};
  trace.requests.assign(4, {.num_prompt_tokens = 1, .num_output_tokens = 1});
  std::vector<TraceOutcome> outcomes = {outcome(0, 4, 4, 1), outcome(0, 2, 2, 1), outcome(0, 1, 1, 1),
                                        outcome(0, 5, 5, 1)};
  outcomes[0].forecast_ttft_seconds = 5;
  outcomes[1].forecast_ttft_seconds = 0;
  outcomes[3].forecast_ttft_seconds = 9;
  outcomes[3].error = "HTTP 500";
  const auto report = make_report(trace, outcomes, {});
  ASSERT_TRUE(report);
  const json::value all = report->at("all");
  EXPECT_EQ(all.at("forecasts"), 2);
  EXPECT_EQ(all.at_pointer("/forecast_error/mean"), 1.5);
  EXPECT_EQ(all.at_pointer("/forecast_relative_error/max"), 1.0);
  EXPECT_EQ(to_object(trace.requests[0], outcomes[0], {}).at("forecast_ttft"), 5.0);
  EXPECT_FALSE(to_object(trace.requests[2], outcomes[2], {}).contains("forecast_ttft"));
}

TEST(TraceReport, LeavesOutTheWarmUp) {
  Trace trace{.header = "{\"trace\": \"t\"}"};
  trace.requests.assign(2, {.num_prompt_tokens = 1, .num_output_tokens = 1});
  trace.requests[1].arrival_ns = 10 * kSecond;
  const std::vector<TraceOutcome> outcomes = {outcome(0, 1, 1, 1), outcome(10, 13, 13, 1)};
  ReportOptions options{.warm_up_ns = 10 * kSecond};
  const auto report = make_report(trace, outcomes, options);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->at("all").at("requests"), 1);
  EXPECT_EQ(report->at("all").at("jct").at("mean"), 3.0);
  EXPECT_TRUE(report->at("all").at("slowdown").is_null());
  options.warm_up_ns = 11 * kSecond;
  EXPECT_FALSE(make_report(trace, outcomes, options));
}

TEST(CostModelFile, ReadsWhatIsWritten) {
  CostVector seconds{};
  std::iota(seconds.begin(), seconds.end(), 1.0);
  const std::vector<int64_t> windows = {0, 512};
  const CostModel model(AttentionReach(windows), seconds);
  testing::TempFolder folder;
  const std::string path =
      folder.write("cost.json", "{\"other\": 1}\n" + to_json(to_object(model, windows)) + "\n");
  const auto read = read_cost_model(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->model.coefficients(), seconds);
  EXPECT_EQ(read->model.reach().positions(5000), model.reach().positions(5000));
  EXPECT_FALSE(read->recording);
}

TEST(CostModelFile, RefusesWhatIsNotWhole) {
  testing::TempFolder folder;
  for (const auto& [text, part] :
       {std::pair("{\"a\": 1}", "bench cost-model"),
        std::pair("{\"coefficients\": {\"pass\": 1}}", "'batch'"),
        std::pair("{\"coefficients\": 5}", "object"), std::pair("[1]", "line 1")}) {
    const auto read = read_cost_model(folder.write("cost.json", text));
    ASSERT_FALSE(read) << text;
    EXPECT_NE(read.error().message.find(part), std::string::npos) << read.error().message;
  }
}

TEST(CostModelFile, IsolatedTimeIsChunksThenTokens) {
  CostVector seconds{};
  seconds[static_cast<size_t>(CostTerm::pass)] = 1;
  const CostModel model(AttentionReach(), seconds);
  EXPECT_DOUBLE_EQ(isolated_seconds(model, 100, 5, 100), 1 + 4);
  EXPECT_DOUBLE_EQ(isolated_seconds(model, 101, 1, 50), 3);
}

}  // namespace
}  // namespace pagoda
