// Random arrivals, cancellations, forks and preemptions in tiny pools: every request must give what it gives
// alone.
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::RecordingSink;

struct Live {
  Request request;
  RequestId id = 0;
  std::shared_ptr<RecordingSink> sink;
  int64_t arrival_ns = 0;
  bool cancelled = false;
  std::vector<size_t> num_tokens;  // seen so far, per sequence
  bool paused = false;             // a sequence that had begun got no token in some step
};

constexpr int64_t kNoLimit = int64_t{1} << 60;

class RandomRun {
 public:
  explicit RandomRun(uint32_t seed)
      : random_(seed), harness_(random_config(), {}, chance(50) ? static_cast<int32_t>(between(1, 60)) : 0) {}

  void run(int num_requests) {
    while (std::ssize(live_) < num_requests || !all_done()) {
      if (std::ssize(live_) < num_requests && chance(30)) submit();
      if (chance(4)) cancel();
      if (harness_.store) disturb_store();
      harness_.engine->step();
      harness_.engine->check_invariants();
      harness_.clock->advance_ns(1000);
      watch_progress();
      ASSERT_LT(++num_steps_, 100000) << "no end";
    }
    if (harness_.store) harness_.store->num_may_end = kNoLimit;
    while (harness_.engine->step()) harness_.engine->check_invariants();
    harness_.expect_idle();
    for (const Live& live : live_) check(live);
    check_order();
  }
  EngineStats stats() const { return harness_.engine->stats(); }

 private:
  int64_t between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  bool chance(int percent) { return between(0, 99) < percent; }
  int32_t any_token() { return static_cast<int32_t>(between(0, EngineHarness::kVocabSize - 1)); }

  EngineConfig random_config() {
    EngineConfig config = testing::small_config();
    config.max_context = 120;
    config.num_threads = static_cast<int>(between(1, 2));
    config.max_sequences = static_cast<int32_t>(between(1, 8));
    config.max_batch_tokens = static_cast<int32_t>(between(config.max_sequences, 40));
    config.prefill_chunk = static_cast<int32_t>(between(1, config.max_batch_tokens));
    config.num_pages = static_cast<int32_t>(between(4, 30));
    config.max_queued_requests = 1000;
    config.prefix_cache.enabled = chance(90);
    config.prefix_cache.eviction = chance(50) ? Eviction::cost : Eviction::lru;
    return config;
  }

  Request random_request() {
    const EngineConfig& config = harness_.engine->config();
    Request request;
    const int64_t longest = std::min<int64_t>(60, config.kv_capacity_tokens());
    request.prompt.resize(static_cast<size_t>(between(1, longest)));
    const bool begins_alike = chance(60);
    for (int32_t& token : request.prompt)
      token = begins_alike ? static_cast<int32_t>(&token - request.prompt.data()) : any_token();
    if (begins_alike && chance(70)) request.prompt.back() = any_token();
    if (chance(20)) request.cache_salt = "salt";
    request.max_tokens = between(0, 50);
    request.num_sequences = chance(30) ? static_cast<int32_t>(between(1, config.max_sequences)) : 1;
    request.ignore_eos = chance(50);
    request.skip_special_tokens = chance(70);
    request.want_prompt_logprobs = chance(20);
    request.include_stop_in_output = chance(30);
    if (chance(30)) request.min_tokens = between(0, request.max_tokens);
    if (chance(20)) request.stop_token_ids = {any_token(), any_token()};
    if (chance(30)) request.stop = {"ab", std::string(1, static_cast<char>('a' + between(0, 25))) + " "};
    SamplingParams& sampling = request.sampling;
    sampling.seed = static_cast<uint64_t>(between(0, 1 << 30));
    sampling.temperature = chance(25) ? 0.0f : 1.0f;
    if (chance(20)) sampling.top_k = static_cast<int32_t>(between(1, 20));
    if (chance(20)) sampling.top_p = 0.9f;
    if (chance(20)) sampling.min_p = 0.05f;
    if (chance(20)) sampling.repetition_penalty = 1.2f;
    if (chance(20)) sampling.frequency_penalty = 0.5f;
    if (chance(20)) sampling.logit_bias = {{any_token(), 3.0f}};
    if (chance(20)) sampling.num_logprobs = static_cast<int32_t>(between(0, 5));
    return request;
  }

  // Transfers end late, and some fail.
  void disturb_store() {
    harness_.store->num_may_end = between(0, 3);
    harness_.store->failing = chance(10);
    if (chance(2)) harness_.store->damage_all();
  }

  void submit() {
    Live live{.request = random_request()};
    live.sink = harness_.submit(live.request);
    live.id = harness_.last_id;
    live.arrival_ns = harness_.clock->now_ns();
    live.num_tokens.resize(live.sink->outputs.size());
    live_.push_back(std::move(live));
  }
  void cancel() {
    if (live_.empty()) return;
    Live& live = live_[static_cast<size_t>(between(0, std::ssize(live_) - 1))];
    if (live.sink->done) return;
    harness_.engine->cancel(live.id);
    live.cancelled = true;
  }
  bool all_done() const {
    return std::ranges::all_of(live_, [](const Live& live) { return live.sink->done.load(); });
  }

  void watch_progress() {
    for (Live& live : live_)
      for (size_t i = 0; i < live.num_tokens.size(); ++i) {
        const RecordingSink::Output& output = live.sink->outputs[i];
        if (live.num_tokens[i] > 0 && !output.finish && output.tokens.size() == live.num_tokens[i])
          live.paused = true;
        live.num_tokens[i] = output.tokens.size();
      }
  }

  void check(const Live& live) const {
    SCOPED_TRACE(fmt::format("request {}, {} sequences", live.id, live.request.num_sequences));
    const RecordingSink& sink = *live.sink;
    EXPECT_TRUE(live.cancelled || sink.status);
    EXPECT_FALSE(live.paused && sink.timings.num_preemptions == 0) << "a stream stalled without preemption";
    for (int32_t index = 0; index < live.request.num_sequences; ++index)
      check_sequence(live, sink.outputs[static_cast<size_t>(index)], harness_.expected(live.request, index));
    EXPECT_TRUE(sink.has_prompt_logprobs == live.request.want_prompt_logprobs || live.cancelled);
    if (sink.has_prompt_logprobs) {
      EXPECT_EQ(sink.prompt_logprobs.size(), live.request.prompt.size() - 1);
    }
  }
  void check_sequence(const Live& live, const RecordingSink::Output& output,
                      const testing::ExpectedOutput& expected) const {
    // What was cut short must agree as far as it goes.
    const bool pool_full = std::ssize(live.request.prompt) + std::ssize(output.tokens) ==
                           harness_.engine->config().kv_capacity_tokens() + 1;
    if (output.finish == FinishReason::cancelled || (pool_full && output.finish == FinishReason::length)) {
      ASSERT_LE(output.tokens.size(), expected.tokens.size());
      EXPECT_TRUE(std::equal(output.tokens.begin(), output.tokens.end(), expected.tokens.begin()));
    } else {
      expect_output(output, expected);
    }
    for (const auto& event : output.events)
      EXPECT_EQ(std::ssize(event.top_logprobs), std::max(live.request.sampling.num_logprobs, 0));
  }

  // First come, first served: nobody is scheduled before those who came earlier, unless those wait for what
  // another is computing.
  void check_order() const {
    int64_t last_scheduled_ns = 0;
    for (const Live& live : live_) {
      const bool may_have_waited =
          std::ssize(live.request.prompt) > kPageTokens && live.request.prompt[1] == 1;
      if (live.cancelled || may_have_waited) continue;
      const int64_t scheduled_ns = live.arrival_ns + live.sink->timings.queued_ns;
      EXPECT_GE(scheduled_ns, last_scheduled_ns) << "request " << live.id;
      last_scheduled_ns = scheduled_ns;
    }
  }

  std::mt19937 random_;
  EngineHarness harness_;
  std::vector<Live> live_;
  int num_steps_ = 0;
};

TEST(EngineRandom, EveryRequestGivesWhatItGivesAlone) {
  uint64_t num_preemptions = 0;
  uint64_t num_cached = 0;
  uint64_t num_swapped = 0;
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    RandomRun run(seed);
    run.run(25);
    num_preemptions += run.stats().num_preemptions;
    num_cached += run.stats().prompt_tokens_cached;
    num_swapped += run.stats().prompt_tokens_swapped;
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(num_preemptions, 500u) << "the pools are too large to test anything";
  EXPECT_GT(num_cached, 2000u);
  EXPECT_GT(num_swapped, 50u);
}

}  // namespace
}  // namespace pagoda
