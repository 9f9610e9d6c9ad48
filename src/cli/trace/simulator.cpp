#include "cli/trace/simulator.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "cli/trace/page_usage.h"
#include "cli/trace/simulated_model.h"
#include "cli/trace/timeline.h"
#include "cli/trace/virtual_page_store.h"
#include "engine/engine.h"
#include "kv/kv_cache.h"

namespace pagoda {

namespace {

constexpr int32_t kVocabSize = 64;
constexpr TokenRange kIds = {1, kVocabSize - 1};
constexpr uint64_t kEndlessMemory = uint64_t{1} << 50;
constexpr int64_t kNever = INT64_MAX;

// Notes when tokens come, and says when there are as many as the trace has.
class OutcomeSink final : public RequestSink {
 public:
  OutcomeSink(const Clock& clock, TraceOutcome& outcome, int64_t num_output_tokens,
              std::function<void()> on_complete)
      : clock_(clock),
        outcome_(outcome),
        num_output_tokens_(num_output_tokens),
        on_complete_(std::move(on_complete)) {
    outcome_.arrival_ns = clock_.now_ns();
  }

  void on_update(const SequenceUpdate& update) override {
    if (update.tokens.empty()) return;
    const int64_t now_ns = clock_.now_ns();
    if (outcome_.num_output_tokens == 0)
      outcome_.first_token_ns = now_ns;
    else
      outcome_.largest_gap_ns = std::max(outcome_.largest_gap_ns, now_ns - last_token_ns_);
    last_token_ns_ = now_ns;
    outcome_.num_output_tokens += std::ssize(update.tokens);
    outcome_.end_ns = now_ns;
    if (is_complete() && !update.finish) on_complete_();
  }
  void on_prompt_logprobs(std::span<const TokenEvent>) override {}
  void on_done(const RequestTimings& timings, const Status& status) override {
    outcome_.num_cached_tokens = timings.num_cached_tokens;
    outcome_.waited_ns = timings.waited_ns;
    if (is_complete()) return;
    outcome_.end_ns = clock_.now_ns();
    if (!status) outcome_.error = to_string(status.error().code);
  }

 private:
  bool is_complete() const { return outcome_.num_output_tokens == num_output_tokens_; }

  const Clock& clock_;
  TraceOutcome& outcome_;
  const int64_t num_output_tokens_;
  const std::function<void()> on_complete_;
  int64_t last_token_ns_ = 0;
};

EngineOptions engine_options(const Trace& trace, const SimulationOptions& options, const KvShape& shape) {
  EngineOptions engine = options.engine;
  engine.num_threads = 1;
  engine.memory_bytes = kEndlessMemory;
  if (engine.max_queued_requests == 0)
    engine.max_queued_requests = static_cast<int32_t>(std::min<size_t>(trace.requests.size(), 1 << 20));
  engine.max_kv_bytes = static_cast<uint64_t>(pages_for(options.kv_tokens)) * shape.page_bytes();
  return engine;
}

Result<EngineConfig> config_of(const Trace& trace, const SimulationOptions& options, const Model& model) {
  MachineInfo machine{.available_memory = kEndlessMemory};
  machine.cpu.num_cores = 1;
  Result<EngineConfig> config =
      resolve(engine_options(trace, options, model.info().kv_shape), model, machine, 0);
  if (config || config.error().code != ErrorCode::out_of_memory) return config;
  // All other memory is endless. The engine's own words name an option of servers.
  return fail(ErrorCode::out_of_memory,
              "--kv-tokens {} are too few: each running sequence needs {}; raise it or lower --max-sequences",
              options.kv_tokens, kPageTokens);
}

int64_t longest_request(const Trace& trace) {
  int64_t longest = 0;
  for (const TraceRequest& request : trace.requests)
    longest = std::max(longest, request.num_prompt_tokens + request.num_output_tokens);
  return longest;
}

double attention_share(const CostVector& seconds) {
  const double token = seconds[static_cast<size_t>(CostTerm::more_tokens)];
  return token > 0 ? seconds[static_cast<size_t>(CostTerm::attention_pairs)] / token : 0;
}

class Simulator {
 public:
  Simulator(const Trace& trace, const SimulationOptions& options)
      : trace_(trace),
        options_(options),
        timeline_(std::make_shared<Timeline>(arrivals(trace), [this](size_t i) { submit(i); })) {
    result_.outcomes.resize(trace.requests.size());
    ids_.resize(trace.requests.size());
  }

  Result<Simulation> run() {
    PAGODA_TRY_STATUS(create_engine());
    while (true) {
      if (engine_->step()) {
        timeline_->advance_to(timeline_->now_ns() + std::llround(std::exchange(between_seconds_, 0) * 1e9));
        continue;
      }
      const int64_t next_ns = next_event_ns();
      if (next_ns == kNever) break;
      timeline_->advance_to(next_ns);
    }
    const EngineStats stats = engine_->stats();
    result_.num_preemptions = static_cast<int64_t>(stats.num_preemptions);
    result_.num_stored_pages = static_cast<int64_t>(stats.prefix_cache.stored_pages);
    result_.num_loaded_pages = static_cast<int64_t>(stats.prefix_cache.loaded_pages);
    result_.kv_utilisation = usage_.utilisation();
    result_.kv_tokens = engine_->config().kv_capacity_tokens();
    return std::move(result_);
  }

 private:
  static std::vector<int64_t> arrivals(const Trace& trace) {
    std::vector<int64_t> times;
    times.reserve(trace.requests.size());
    for (const TraceRequest& request : trace.requests) times.push_back(request.arrival_ns);
    return times;
  }

  // Of what happens by itself while the engine has nothing to do.
  int64_t next_event_ns() const {
    const int64_t arrival_ns = timeline_->has_event() ? timeline_->next_event_ns() : kNever;
    return store_ ? std::min(arrival_ns, store_->next_end_ns().value_or(kNever)) : arrival_ns;
  }

  Status create_engine() {
    const int64_t max_context =
        options_.engine.max_context != 0 ? options_.engine.max_context : longest_request(trace_);
    auto model = std::make_unique<SimulatedModel>(
        max_context, kVocabSize, attention_share(options_.costs.coefficients()),
        [this](const ForwardBatch& batch, std::span<float>) { forward(batch); });
    PAGODA_TRY(EngineConfig config, config_of(trace_, options_, *model));
    Engine::Parts parts =
        simulated_parts(std::move(model), timeline_, options_.first_costs.value_or(options_.costs));
    if (options_.disk)
      parts.open_page_store = [this, disk = *options_.disk, bytes = config.kv_disk_bytes](
                                  PageMemory& memory) { return open_store(disk, bytes, memory); };
    PAGODA_TRY(engine_, Engine::create(std::move(config), std::move(parts)));
    if (options_.recorder) StepRecorder::attach(options_.recorder, *engine_);
    return {};
  }

  Result<std::unique_ptr<PageStore>> open_store(const DiskModel& disk, uint64_t bytes, PageMemory& memory) {
    PAGODA_TRY(auto store, VirtualPageStore::create(disk, bytes, memory, *timeline_));
    store_ = store.get();
    return store;
  }

  void submit(size_t index) {
    const TraceRequest& wish = trace_.requests[index];
    TraceOutcome& outcome = result_.outcomes[index];
    Request request{.prompt = make_prompt(trace_, index, kIds, "")};
    request.sampling.temperature = 0;
    request.max_tokens = std::max(wish.num_output_tokens, options_.max_tokens);
    request.ignore_eos = true;
    request.client = std::hash<std::string>{}(wish.key);
    const Forecast forecast = engine_->forecast(wish.num_prompt_tokens, request.max_tokens);
    outcome.forecast_ttft_seconds = forecast.queue_seconds + forecast.prefill_seconds;
    auto sink = std::make_shared<OutcomeSink>(*timeline_, outcome, wish.num_output_tokens,
                                              [this, index] { engine_->cancel(ids_[index]); });
    if (const auto id = engine_->submit(std::move(request), std::move(sink))) {
      ids_[index] = *id;
    } else {
      outcome.error = to_string(id.error().code);
      outcome.end_ns = outcome.arrival_ns;
    }
    if (options_.on_progress)
      options_.on_progress(static_cast<double>(index + 1) / static_cast<double>(trace_.requests.size()));
  }

  void forward(const ForwardBatch& batch) {
    StepWork work;
    auto row = batch.logits_rows.begin();
    for (const SequenceSlice& slice : batch.sequences) {
      const auto end = std::lower_bound(row, batch.logits_rows.end(), slice.token_begin + slice.num_tokens);
      work.add({slice.first_position, slice.num_tokens, end - row}, options_.costs.reach());
      row = end;
    }
    const int64_t since_first_ns = timeline_->now_ns() - trace_.requests.front().arrival_ns;
    const double predicted = options_.costs.predict(work);
    const auto [seconds, between_seconds] =
        options_.pace.time_of(result_.num_steps, since_first_ns, predicted);
    between_seconds_ = between_seconds;
    usage_.add(batch, seconds);
    ++result_.num_steps;
    result_.busy_seconds += seconds;
    timeline_->advance_to(timeline_->now_ns() + std::llround(seconds * 1e9));
  }

  const Trace& trace_;
  const SimulationOptions& options_;
  Simulation result_;
  std::vector<RequestId> ids_;  // of the engine, by request of the trace
  PageUsage usage_;
  double between_seconds_ = 0;  // after the last step
  std::shared_ptr<Timeline> timeline_;
  std::unique_ptr<Engine> engine_;
  VirtualPageStore* store_ = nullptr;  // the engine's; null: none
};

}  // namespace

Result<Simulation> simulate(const Trace& trace, const SimulationOptions& options) {
  return Simulator(trace, options).run();
}

}  // namespace pagoda
