#include "cli/trace/step_replay.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "cli/trace/simulated_model.h"

namespace pagoda {

namespace {

// Shows what it is told, also earlier times: requests arrived while the step before was running.
class RecordedClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_ns_; }
  void set(int64_t now_ns) { now_ns_ = now_ns; }

 private:
  int64_t now_ns_ = 0;
};

class SilentSink final : public RequestSink {
 public:
  void on_update(const SequenceUpdate&) override {}
  void on_prompt_logprobs(std::span<const TokenEvent>) override {}
  void on_done(const RequestTimings&, const Status&) override {}
};

std::string describe(const std::vector<RecordedItem>& items) {
  std::vector<std::string> texts;
  texts.reserve(items.size());
  for (const RecordedItem& item : items)
    texts.push_back(fmt::format("{}: {} + {}", item.sequence, item.first_position, item.num_tokens));
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

class Replay {
 public:
  explicit Replay(const StepRecording& recording) : recording_(recording) {}

  Result<StepReplay> run() {
    PAGODA_TRY_STATUS(create_engine());
    for (const RecordedMoment& moment : recording_.moments) {
      moment_ = &moment;
      planned_.clear();
      deliver(moment);
      clock_->set(moment.start_ns);
      engine_->step();
      if (result_.difference.empty() && planned_ != without_tokens(moment.items))
        differ(fmt::format("{} instead of {}", describe(planned_), describe(moment.items)));
      if (!result_.difference.empty()) break;
      if (moment.end_ns != 0) ++result_.num_steps;
    }
    return result_;
  }

 private:
  Status create_engine() {
    auto model = std::make_unique<SimulatedModel>(
        recording_.config.max_context, end_token() + 1, recording_.config.prefix_cache.attention_share,
        [this](const ForwardBatch& batch, std::span<float> logits) { forward(batch, logits); });
    PAGODA_TRY(engine_, Engine::create(recording_.config,
                                       simulated_parts(std::move(model), clock_, recording_.costs)));
    engine_->on_step([this](const Engine::StepReport& report) {
      for (const PlanItem& item : report.items)
        planned_.push_back({item.sequence->id, item.first_position, item.num_tokens});
    });
    return {};
  }

  // Beyond the vocabulary: what ended a sequence was an end token, a stop string, a constraint or its length,
  // and the last token of a sequence is never computed.
  int32_t end_token() const { return static_cast<int32_t>(recording_.vocab_size); }

  void deliver(const RecordedMoment& moment) {
    for (const RecordedArrival& arrival : moment.arrivals) {
      clock_->set(arrival.at_ns);
      Request request{.prompt = arrival.prompt};
      request.sampling.temperature = 0;
      request.max_tokens = arrival.max_tokens;
      request.stop_token_ids = {end_token()};
      request.priority = arrival.priority;
      request.client = arrival.client;
      request.cache_salt = arrival.salt;
      const auto id = engine_->submit(std::move(request), std::make_shared<SilentSink>());
      if (!id)
        differ(fmt::format("request {} was refused: {}", arrival.id, id.error().message));
      else if (*id != arrival.id)
        differ(fmt::format("request {} instead of {}", *id, arrival.id));
      ++result_.num_requests;
    }
    for (const RequestId id : moment.cancels) engine_->cancel(id);
    for (const FlowChange& change : moment.flow_changes)
      change.kind == FlowChange::Kind::park ? engine_->park(change.id) : engine_->resume(change.id);
  }

  void forward(const ForwardBatch& batch, std::span<float> logits) {
    clock_->set(std::max(moment_->end_ns, moment_->start_ns));
    const auto num_sampled =
        std::ranges::count_if(moment_->items, [](const auto& i) { return i.token >= 0; });
    // Where the plan differs the tokens do not matter: the replay ends with this step.
    if (num_sampled != std::ssize(batch.logits_rows)) return;
    size_t row_begin = 0;
    for (const RecordedItem& item : moment_->items) {
      if (item.token < 0) continue;
      logits[row_begin + static_cast<size_t>(item.ended ? end_token() : item.token)] = 1;
      row_begin += static_cast<size_t>(end_token()) + 1;
    }
  }

  static std::vector<RecordedItem> without_tokens(std::vector<RecordedItem> items) {
    for (RecordedItem& item : items) {
      item.token = -1;
      item.ended = false;
    }
    return items;
  }

  void differ(std::string what) {
    if (result_.difference.empty()) result_.difference = fmt::format("step {}: {}", result_.num_steps, what);
  }

  const StepRecording& recording_;
  std::shared_ptr<RecordedClock> clock_ = std::make_shared<RecordedClock>();
  std::unique_ptr<Engine> engine_;
  const RecordedMoment* moment_ = nullptr;
  std::vector<RecordedItem> planned_;
  StepReplay result_;
};

}  // namespace

Result<StepReplay> replay_steps(const StepRecording& recording) {
  return Replay(recording).run();
}

}  // namespace pagoda
