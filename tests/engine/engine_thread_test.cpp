// The engine on its own thread, with submitting and cancelling threads around it.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "support/engine_harness.h"

namespace pagoda {
namespace {

using testing::EngineHarness;
using testing::RecordingSink;
using testing::small_config;

Request make_request(int32_t prompt_length, int64_t max_tokens, uint64_t seed) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < prompt_length; ++i) prompt.push_back(4 + static_cast<int32_t>(seed + 5 * i) % 60);
  return {.prompt = prompt, .sampling = {.seed = seed}, .max_tokens = max_tokens, .ignore_eos = true};
}

void wait_for(const RecordingSink& sink) {
  while (!sink.done.load(std::memory_order_acquire)) std::this_thread::yield();
}

TEST(EngineThread, ServesManyThreads) {
  EngineConfig config = small_config();
  config.num_threads = 2;
  config.num_pages = 20;
  config.max_queued_requests = 1000;
  EngineHarness harness(config);
  harness.engine->start();
  std::vector<std::thread> clients;
  for (uint64_t client = 0; client < 4; ++client) {
    clients.emplace_back([&harness, client] {
      for (uint64_t i = 0; i < 12; ++i) {
        const Request request = make_request(static_cast<int32_t>(5 + 7 * i), 20, 100 * client + i);
        const auto sink = std::make_shared<RecordingSink>();
        const auto id = harness.engine->submit(request, sink);
        ASSERT_TRUE(id) << id.error().message;
        const bool cancels = i % 3 == 2;
        if (cancels) harness.engine->cancel(*id);
        wait_for(*sink);
        if (!cancels) expect_output(sink->outputs[0], harness.expected(request));
      }
    });
  }
  std::thread reader([&harness] {
    for (int i = 0; i < 200; ++i) {
      const EngineStats stats = harness.engine->stats();
      EXPECT_LE(stats.kv_pages_used, stats.kv_pages_total);
      harness.engine->retry_after_seconds();
      std::this_thread::yield();
    }
  });
  for (std::thread& client : clients) client.join();
  reader.join();
  harness.engine->drain(INT64_MAX);
  harness.expect_idle();
}

TEST(EngineThread, WakesFromSleepForEachRequest) {
  EngineHarness harness;
  harness.engine->start();
  for (uint64_t i = 0; i < 20; ++i) {
    const Request request = make_request(5, 3, i);
    const auto sink = harness.submit(request);
    wait_for(*sink);
    expect_output(sink->outputs[0], harness.expected(request));
    if (i % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // lets the engine fall asleep
  }
}

// Lets one forward pass begin and holds it until opened.
class Gate {
 public:
  void enter() {
    std::unique_lock lock(mutex_);
    entered_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void wait_until_entered() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return entered_; });
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool entered_ = false;
  bool open_ = false;
};

TEST(EngineThread, NobodyWaitsForAStep) {
  Gate gate;
  EngineHarness harness(small_config(), {.on_forward = [&](const ForwardBatch&) { gate.enter(); }});
  harness.engine->start();
  const auto first = harness.submit(make_request(5, 3, 1));
  gate.wait_until_entered();
  // The step hangs; all of these return nevertheless.
  const auto second = harness.submit(make_request(5, 3, 2));
  harness.engine->cancel(harness.last_id);
  EXPECT_EQ(harness.engine->stats().num_steps, 0u);
  EXPECT_GE(harness.engine->retry_after_seconds(), 1);
  gate.open();
  wait_for(*first);
  wait_for(*second);
  EXPECT_TRUE(first->status);
  EXPECT_FALSE(second->status);
}

TEST(EngineThread, DrainLetsRequestsFinishAndThenRefuses) {
  EngineHarness harness;
  harness.engine->start();
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (uint64_t i = 0; i < 10; ++i) sinks.push_back(harness.submit(make_request(10, 50, i)));
  harness.engine->drain(INT64_MAX);
  for (const auto& sink : sinks) {
    ASSERT_TRUE(sink->done);
    EXPECT_TRUE(sink->status);
    EXPECT_EQ(sink->outputs[0].tokens.size(), 50u);
  }
  EXPECT_FALSE(harness.engine->submit(make_request(1, 1, 1), std::make_shared<RecordingSink>()));
}

TEST(EngineThread, DrainCancelsWhatDoesNotFinishInTime) {
  EngineHarness harness(small_config(), {.on_forward = [](const ForwardBatch&) {
                          std::this_thread::sleep_for(std::chrono::milliseconds(5));
                        }});
  harness.engine->start();
  const auto sink = harness.submit(make_request(5, 200, 1));
  harness.engine->drain(1'000'000);
  ASSERT_TRUE(sink->done);
  ASSERT_FALSE(sink->status);
  EXPECT_EQ(sink->status.error().code, ErrorCode::cancelled);
}

TEST(EngineThread, DestructionStopsARunningEngine) {
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  {
    EngineHarness harness;
    harness.engine->start();
    for (uint64_t i = 0; i < 12; ++i) sinks.push_back(harness.submit(make_request(20, 200, i)));
  }
  for (const auto& sink : sinks) EXPECT_TRUE(sink->done);
}

}  // namespace
}  // namespace pagoda
