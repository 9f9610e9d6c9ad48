// The disk tier in virtual time: how long transfers take, and what an engine makes of them.
#include <array>
#include <numeric>

#include <gtest/gtest.h>

#include "cli/trace/disk_model.h"
#include "cli/trace/simulator.h"
#include "cli/trace/virtual_page_store.h"
#include "engine/engine.h"
#include "support/fake_model.h"
#include "support/fake_tokenizer.h"
#include "support/plain_kernels.h"
#include "support/recording_sink.h"
#include "support/temp_folder.h"

namespace pagoda::testing {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;

// Times that can be added up by hand.
DiskModel plain_disk() {
  return {.page_bytes = 4096,
          .queue_depth = 16,
          .write = {.latency_seconds = 0.5, .page_seconds = 0.1},
          .read = {.latency_seconds = 0.25, .page_seconds = 0.05}};
}

// A page is one number.
class NumberPages final : public PageMemory {
 public:
  size_t page_bytes() const override { return sizeof(int); }
  void copy_out(PageId page, std::span<std::byte> to) const override {
    std::memcpy(to.data(), &numbers[static_cast<size_t>(page)], sizeof(int));
  }
  void copy_in(PageId page, std::span<const std::byte> from) override {
    std::memcpy(&numbers[static_cast<size_t>(page)], from.data(), sizeof(int));
  }
  std::array<int, 32> numbers{};
};

class VirtualPageStoreTest : public ::testing::Test {
 protected:
  VirtualPageStoreTest() {
    std::iota(pages_.numbers.begin(), pages_.numbers.end(), 100);
    store_ = *VirtualPageStore::create(plain_disk(), 1 << 20, pages_, timeline_);
  }
  static PageIdentity identity(uint64_t number) { return {.key = {number, 0}}; }
  // Tags of what ends by then.
  std::vector<uint64_t> ended_at(int64_t time_ns) {
    timeline_.advance_to(time_ns);
    std::array<PageTransfer, 64> done;
    std::vector<uint64_t> tags;
    for (const PageTransfer& transfer : std::span(done).first(store_->poll(done))) {
      EXPECT_TRUE(transfer.ok);
      tags.push_back(transfer.tag);
    }
    return tags;
  }

  Timeline timeline_{{}, [](size_t) {}};
  NumberPages pages_;
  std::unique_ptr<VirtualPageStore> store_;
};

TEST_F(VirtualPageStoreTest, ATransferTakesItsLatencyAndItsBytes) {
  timeline_.advance_to(kSecond);
  const SlotId slot = store_->write(identity(1), 3, 7);
  ASSERT_NE(slot, kNoSlot);
  EXPECT_EQ(store_->next_end_ns(), 1600 * kMs);
  EXPECT_TRUE(ended_at(1600 * kMs - 1).empty());
  EXPECT_EQ(ended_at(1600 * kMs), std::vector<uint64_t>{7});
  EXPECT_EQ(store_->next_end_ns(), std::nullopt);

  pages_.numbers[3] = 0;
  EXPECT_EQ(store_->seconds_per_read(), 0);
  EXPECT_TRUE(store_->read(slot, identity(1), 5, 8));
  EXPECT_TRUE(ended_at(1900 * kMs - 1).empty());
  EXPECT_EQ(pages_.numbers[5], 105) << "not before its time";
  EXPECT_EQ(ended_at(1900 * kMs), std::vector<uint64_t>{8});
  EXPECT_EQ(pages_.numbers[5], 103);
  EXPECT_DOUBLE_EQ(store_->seconds_per_read(), 0.3);
}

TEST_F(VirtualPageStoreTest, TransfersShareTheDiskAndOverlapTheirLatencies) {
  std::vector<SlotId> slots;
  for (uint64_t i = 0; i < 3; ++i) slots.push_back(store_->write(identity(i), static_cast<PageId>(i), i));
  EXPECT_EQ(ended_at(700 * kMs), (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(ended_at(800 * kMs), std::vector<uint64_t>{2});
  // A read that comes after a write waits for its bytes, not for its latency.
  store_->write(identity(9), 9, 9);
  store_->read(slots[0], identity(0), 0, 10);
  EXPECT_EQ(ended_at(1200 * kMs), std::vector<uint64_t>{10});
  EXPECT_EQ(ended_at(1400 * kMs), std::vector<uint64_t>{9});
}

TEST_F(VirtualPageStoreTest, WaitingLetsTimePass) {
  store_->wait(5);
  EXPECT_EQ(timeline_.now_ns(), 5);
  store_->write(identity(1), 0, 0);
  store_->wait(kSecond);
  EXPECT_EQ(timeline_.now_ns(), 600 * kMs + 5);
  store_->wait(kSecond);
  EXPECT_EQ(timeline_.now_ns(), 600 * kMs + 5) << "something has ended";
}

TEST_F(VirtualPageStoreTest, HasRoomForAsManyPagesAsTheDisk) {
  EXPECT_EQ(store_->num_slots(), (1 << 20) / 8192 - 1) << "a header of 4 KiB each, and one of the file";
  EXPECT_FALSE(VirtualPageStore::create(plain_disk(), 4096, pages_, timeline_));
}

class DiskModelTest : public ::testing::Test {
 protected:
  Result<DiskModel> read(const std::string& text) {
    return read_disk_model(folder_.write("disk.jsonl", text));
  }
  const std::string write_line_ =
      R"({"benchmark": "kv-disk", "io": "io_uring", "direction": "write", "page_bytes": 9000, "queue_depth": 8, )"
      R"("pages_per_second": 1000, "alone_seconds": 0.005})"
      "\n";
  const std::string read_line_ =
      R"({"benchmark": "kv-disk", "io": "io_uring", "direction": "read", "page_bytes": 9000, "queue_depth": 8, )"
      R"("pages_per_second": 4000, "alone_seconds": 0.0002})"
      "\n";
  const TempFolder folder_;
};

TEST_F(DiskModelTest, IsTheFirstWayToAskTheSystem) {
  std::string other = write_line_;
  other.replace(other.find("io_uring"), 8, "threads");
  const auto disk = read(write_line_ + read_line_ + other);
  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_EQ(disk->page_bytes, 9000u);
  EXPECT_EQ(disk->queue_depth, 8);
  EXPECT_DOUBLE_EQ(disk->write.page_seconds, 0.001);
  EXPECT_DOUBLE_EQ(disk->write.latency_seconds, 0.004);
  EXPECT_DOUBLE_EQ(disk->read.page_seconds, 0.00025);
  EXPECT_EQ(disk->read.latency_seconds, 0) << "never below it";
}

TEST_F(DiskModelTest, NeedsBothWays) {
  for (const std::string& text : {write_line_, read_line_, std::string("{}\n")}) {
    const auto disk = read(text);
    ASSERT_FALSE(disk);
    EXPECT_NE(disk.error().message.find("disk.jsonl"), std::string::npos) << disk.error().message;
  }
  std::string slow = read_line_;
  slow.replace(slow.find("4000"), 4, "0");
  const auto disk = read(write_line_ + slow);
  ASSERT_FALSE(disk);
  EXPECT_NE(disk.error().message.find("pages_per_second"), std::string::npos) << disk.error().message;
}

CostModel costs_of(double pass, double token, double sequence) {
  CostVector seconds{};
  seconds[static_cast<size_t>(CostTerm::pass)] = pass;
  seconds[static_cast<size_t>(CostTerm::more_tokens)] = token;
  seconds[static_cast<size_t>(CostTerm::sequences)] = sequence;
  return CostModel(AttentionReach(), seconds);
}

TEST(SimulatorDisk, EvictedPagesComeBackInTheDisksTime) {
  Trace trace{.header = "{\"trace\": \"test\"}", .requests = {}};
  const std::vector<TraceSegment> system = {{"system", 64}};
  trace.requests = {
      {.arrival_ns = 0, .num_prompt_tokens = 64, .num_output_tokens = 1, .prefix = system},
      {.arrival_ns = 10 * kSecond, .num_prompt_tokens = 95, .num_output_tokens = 1},
      {.arrival_ns = 20 * kSecond, .num_prompt_tokens = 80, .num_output_tokens = 1, .prefix = system}};
  SimulationOptions options{.kv_tokens = 96, .costs = costs_of(1, 0, 1), .disk = plain_disk()};
  options.engine.policy = "fcfs";
  options.engine.max_sequences = 2;
  const auto with = simulate(trace, options);
  ASSERT_TRUE(with) << with.error().message;
  // The second takes all six pages. The third asks for four at once, and runs when the last has come: its
  // step takes two seconds.
  EXPECT_EQ(with->outcomes[2].end_ns, 20 * kSecond + 4 * 50 * kMs + 250 * kMs + 2 * kSecond);
  EXPECT_EQ(with->outcomes[2].num_cached_tokens, 64);
  EXPECT_EQ(with->num_stored_pages, 4 + 5 + 1);
  EXPECT_EQ(with->num_loaded_pages, 4);
  options.disk.reset();
  const auto without = simulate(trace, options);
  ASSERT_TRUE(without);
  EXPECT_EQ(without->outcomes[2].end_ns, 22 * kSecond);
  EXPECT_EQ(without->outcomes[2].num_cached_tokens, 0);
  EXPECT_EQ(without->num_stored_pages, 0);
}

TEST(SimulatorDisk, SameArgumentsSameOutcomes) {
  Trace trace{.header = "{\"trace\": \"test\"}", .requests = {}};
  for (int64_t i = 0; i < 300; ++i)
    trace.requests.push_back({.arrival_ns = i * 30 * kMs,
                              .num_prompt_tokens = 1 + i * 37 % 500,
                              .num_output_tokens = 1 + i * 11 % 90,
                              .key = i % 3 == 0 ? "a" : "b"});
  SimulationOptions options{
      .kv_tokens = 1024, .costs = costs_of(0.002, 0.0005, 0.0002), .disk = plain_disk()};
  options.disk->read = {.latency_seconds = 0.001, .page_seconds = 0.0002};
  options.engine.max_sequences = 8;
  options.engine.policy = "mlfq";
  options.max_tokens = 400;  // what nobody knows is what preempts
  const auto a = simulate(trace, options);
  const auto b = simulate(trace, options);
  ASSERT_TRUE(a && b);
  EXPECT_GT(a->num_preemptions, 0);
  EXPECT_GT(a->num_loaded_pages, 0);
  EXPECT_EQ(a->num_loaded_pages, b->num_loaded_pages);
  EXPECT_EQ(a->num_steps, b->num_steps);
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    EXPECT_EQ(a->outcomes[i].first_token_ns, b->outcomes[i].first_token_ns) << i;
    EXPECT_EQ(a->outcomes[i].end_ns, b->outcomes[i].end_ns) << i;
  }
}

struct Served {
  std::vector<std::vector<int32_t>> tokens;  // of each request
  EngineStats stats;
};

// Requests of all lengths and priorities that come while others run, over a model whose tokens tell whether
// its cache holds what was written; in virtual time.
Served serve(int32_t num_pages, bool kv_ahead) {
  constexpr int64_t kVocabSize = 64;
  constexpr size_t kNumRequests = 40;
  const CostModel costs = costs_of(0.002, 0.0005, 0.0002);
  std::vector<int64_t> arrivals;
  for (size_t i = 0; i < kNumRequests; ++i) arrivals.push_back(static_cast<int64_t>(i) * 40 * kMs);
  std::unique_ptr<Engine> engine;
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  auto timeline = std::make_shared<Timeline>(arrivals, [&](size_t i) {
    Request request;
    request.prompt.resize(1 + i * 53 % 180, static_cast<int32_t>(1 + i % 60));
    request.max_tokens = static_cast<int64_t>(1 + i * 29 % 60);
    request.ignore_eos = true;
    request.sampling.temperature = 0;
    request.priority = static_cast<int32_t>(i * 7 % 5);
    sinks.push_back(std::make_shared<RecordingSink>(1));
    EXPECT_TRUE(engine->submit(std::move(request), sinks.back()));
  });
  const auto on_forward = [&](const ForwardBatch& batch) {
    StepWork work;
    for (const SequenceSlice& slice : batch.sequences)
      work.add({slice.first_position, slice.num_tokens, 1}, costs.reach());
    timeline->advance_to(timeline->now_ns() + std::llround(costs.predict(work) * 1e9));
  };
  const FakeTokenizer tokenizer = FakeTokenizer::letters(kVocabSize);
  const Kernels kernels = plain_kernels();
  EngineConfig config{.num_threads = 1,
                      .max_context = 256,
                      .max_batch_tokens = 64,
                      .max_sequences = 6,
                      .max_queued_requests = 64,
                      .prefill_chunk = 64,
                      .policy = "priority",
                      .num_pages = num_pages};
  config.prefix_cache.awaits_returns = kv_ahead;
  Engine::Parts parts{.model = std::make_unique<FakeModel>(
                          FakeModel::Options{.vocab_size = kVocabSize, .on_forward = on_forward}),
                      .tokenizer = std::make_shared<FakeTokenizer>(tokenizer),
                      .end_tokens = {},
                      .pool = std::make_unique<ThreadPool>(1),
                      .kernels = &kernels,
                      .clock = timeline,
                      .costs = costs};
  DiskModel disk = plain_disk();
  disk.read = disk.write = {.latency_seconds = 0.001, .page_seconds = 0.0002};
  parts.open_page_store = [&](PageMemory& memory) -> Result<std::unique_ptr<PageStore>> {
    return VirtualPageStore::create(disk, 64 << 20, memory, *timeline);
  };
  engine = *Engine::create(std::move(config), std::move(parts));
  while (engine->step() || timeline->has_event())
    if (engine->stats().num_running == 0 && timeline->has_event())
      timeline->advance_to(timeline->next_event_ns());
  Served served{.tokens = {}, .stats = engine->stats()};
  for (const auto& sink : sinks) served.tokens.push_back(sink->outputs[0].tokens);
  return served;
}

TEST(SimulatorDisk, KvAheadChangesNoToken) {
  const Served alone = serve(1000, true);
  EXPECT_EQ(alone.stats.prefix_cache.evicted_pages, 0u);
  for (const bool kv_ahead : {true, false}) {
    const Served served = serve(24, kv_ahead);
    EXPECT_GT(served.stats.num_preemptions, 0u);
    EXPECT_GT(served.stats.prefix_cache.loaded_pages, 0u);
    EXPECT_EQ(served.tokens, alone.tokens) << kv_ahead;
  }
}

}  // namespace
}  // namespace pagoda::testing
