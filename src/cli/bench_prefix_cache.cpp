// What the prefix cache's tree costs a step of the engine, by how many pages it knows. No model: the tree
// knows pages by tokens, and these pages have a few bytes.
#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include <boost/json.hpp>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/arguments.h"
#include "cli/bench_machine.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "kv/kv_cache.h"

namespace pagoda {

namespace {

namespace json = boost::json;

// A prompt is a system prompt that many share, and a question of its own.
constexpr int64_t kSharedPages = 80;
constexpr int64_t kOwnPages = 14;
constexpr int64_t kPromptTokens = (kSharedPages + kOwnPages) * kPageTokens;
constexpr int32_t kNumShared = 64;  // different system prompts
constexpr int32_t kRunning = 16;    // sequences
constexpr int64_t kRunningPages = int64_t{kRunning} * (kSharedPages + kOwnPages + 2);

// Tokens of one prompt and the answer to it.
class PromptKeys final : public KeySource {
 public:
  explicit PromptKeys(int32_t number) : number_(number) {}
  int64_t num_tokens() const override { return kPromptTokens + kRunning * kPageTokens; }
  PageTokens page(int64_t index) const override {
    PageTokens tokens;
    const int32_t owner = index < kSharedPages ? -1 - number_ % kNumShared : number_;
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = text_key(owner * 7919 + static_cast<int32_t>(index) * 31 + static_cast<int32_t>(i));
    return tokens;
  }

 private:
  int32_t number_;
};

struct Sequence {
  KvHandle handle = -1;
  PromptKeys keys;
};

// Microseconds of one step, by what they were spent on.
struct StepTimes {
  double look_up = 0;  // of a request that arrives: what is known of it
  double insert = 0;   // of its own pages, each of which takes the place of another
  double decode = 0;   // a token more for each running sequence
  double release = 0;  // of one that has ended
  double total() const { return look_up + insert + decode + release; }
};

class Steps {
 public:
  static Result<std::unique_ptr<Steps>> create(int32_t num_nodes) {
    const KvShape shape = {.num_layers = 1, .num_kv_heads = 1, .head_dim = 2, .type = KvType::bf16};
    PAGODA_TRY(KvPool pool, KvPool::create(shape, num_nodes + static_cast<int32_t>(kRunningPages)));
    return std::make_unique<Steps>(std::move(pool), num_nodes);
  }
  Steps(KvPool pool, int32_t num_nodes)
      : pool_(std::move(pool)), cache_(pool_, kRunning + 1, kPromptTokens + 4096, {.enabled = true}) {
    while (cache_.num_free_pages() > kRunningPages || cache_.prefix_cache().tree().num_nodes() < num_nodes) {
      start();
      if (running_.size() == kRunning) finish_oldest();
    }
    while (running_.size() < kRunning) start();
    // So that every step has something to evict.
    while (cache_.num_free_pages() > kOwnPages) {
      start();
      finish_oldest();
    }
  }

  int32_t num_nodes() const { return cache_.prefix_cache().tree().num_nodes(); }

  StepTimes run() {
    StepTimes times;
    times.release = time([&] { finish_oldest(); });
    const PromptKeys keys(next_number_);
    times.look_up = time([&] {
      cache_.peek({}, keys, kPromptTokens - 1);
      const KvHandle handle = cache_.create();
      cache_.attach(handle, keys, kPromptTokens - 1);
      running_.push_back({handle, keys});
    });
    times.insert = time([&] { extend(running_.back(), kPromptTokens); });
    times.decode = time([&] {
      for (Sequence& sequence : running_) extend(sequence, cache_.length(sequence.handle) + 1);
    });
    ++next_number_;
    return times;
  }

 private:
  void start() {
    const PromptKeys keys(next_number_++);
    const KvHandle handle = cache_.create();
    cache_.attach(handle, keys, kPromptTokens - 1);
    running_.push_back({handle, keys});
    extend(running_.back(), kPromptTokens);
  }
  void extend(Sequence& sequence, int64_t length) {
    PAGODA_CHECK(cache_.reserve(sequence.handle, length), "no room for {} tokens", length);
    cache_.commit(sequence.handle, length);
    cache_.publish(sequence.handle, sequence.keys);
  }
  void finish_oldest() {
    cache_.release(running_.front().handle);
    running_.pop_front();
  }
  template <class Act>
  double time(Act&& act) const {
    const int64_t start_ns = clock_.now_ns();
    act();
    return static_cast<double>(clock_.now_ns() - start_ns) * 1e-3;
  }

  KvPool pool_;
  KvCache cache_;
  std::deque<Sequence> running_;
  int32_t next_number_ = 0;
  SteadyClock clock_;
};

double median_of(const std::vector<StepTimes>& steps, double (*value)(const StepTimes&)) {
  std::vector<double> values;
  values.reserve(steps.size());
  for (const StepTimes& step : steps) values.push_back(value(step));
  return spread_of(std::move(values)).median;
}

}  // namespace

Status execute(const BenchPrefixCacheArguments& arguments) {
  init_logging(LogLevel::warning);
  if (!arguments.json) {
    print_line(fmt::format("microseconds of a step: {} sequences, one of which is new ({} tokens, {} known)",
                           kRunning, kPromptTokens, kSharedPages * kPageTokens));
    print_line(bold(fmt::format("{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}", "nodes", "look up", "insert",
                                "decode", "release", "all", "p99"),
                    Stream::out));
  }
  for (const int32_t num_nodes : arguments.nodes) {
    PAGODA_TRY(const std::unique_ptr<Steps> bench, Steps::create(num_nodes));
    std::vector<StepTimes> steps;
    steps.reserve(static_cast<size_t>(arguments.steps));
    for (int i = 0; i < arguments.steps; ++i) steps.push_back(bench->run());
    const auto look_up = median_of(steps, [](const StepTimes& s) { return s.look_up; });
    const auto insert = median_of(steps, [](const StepTimes& s) { return s.insert; });
    const auto decode = median_of(steps, [](const StepTimes& s) { return s.decode; });
    const auto release = median_of(steps, [](const StepTimes& s) { return s.release; });
    const auto all = median_of(steps, [](const StepTimes& s) { return s.total(); });
    std::ranges::sort(steps, {}, &StepTimes::total);
    const double p99 = steps[(steps.size() - 1) * 99 / 100].total();
    if (arguments.json)
      print_line(to_json(json::object{{"bench", "prefix-cache"},
                                      {"nodes", bench->num_nodes()},
                                      {"steps", arguments.steps},
                                      {"look_up_us", look_up},
                                      {"insert_us", insert},
                                      {"decode_us", decode},
                                      {"release_us", release},
                                      {"all_us", all},
                                      {"all_p99_us", p99}}));
    else
      print_line(fmt::format("{:>10}{:>10.1f}{:>10.1f}{:>10.1f}{:>10.1f}{:>10.1f}{:>10.1f}",
                             bench->num_nodes(), look_up, insert, decode, release, all, p99));
  }
  return {};
}

}  // namespace pagoda
