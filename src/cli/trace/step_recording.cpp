#include "cli/trace/step_recording.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/json_text.h"

namespace pagoda {

Result<std::shared_ptr<StepRecorder>> StepRecorder::create(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::io, "{}: cannot be written", path);
  return std::shared_ptr<StepRecorder>(new StepRecorder(path, std::move(file)));
}

Status StepRecorder::finish() {
  if (!file_.flush()) return fail(ErrorCode::io, "{}: the recording could not be written to its end", path_);
  return {};
}

void StepRecorder::attach(const std::shared_ptr<StepRecorder>& recorder, Engine& engine) {
  recorder->layer_windows_ = engine.model_info().layer_windows;
  recorder->write_config(engine);
  engine.on_mail([recorder](const Engine::MailReport& report) { recorder->write_mail(report); });
  engine.on_step([recorder](const Engine::StepReport& report) { recorder->write_step(report); });
}

void StepRecorder::write_config(const Engine& engine) {
  const EngineConfig& config = engine.config();
  file_ << fmt::format(
      R"({{"recording": 1, "policy": "{}", "max_context": {}, "max_batch_tokens": {}, "max_sequences": {}, )"
      R"("max_queued_requests": {}, "prefill_chunk": {}, "max_step_ns": {}, "num_pages": {}, )"
      R"("prefix_cache": {}, "kv_ahead": {}, "lru": {}, "attention_share": {}, "vocab_size": {}}})"
      "\n",
      config.policy, config.max_context, config.max_batch_tokens, config.max_sequences,
      config.max_queued_requests, config.prefill_chunk, config.max_step_ns, config.num_pages,
      config.prefix_cache.enabled, config.prefix_cache.awaits_returns,
      config.prefix_cache.eviction == Eviction::lru, config.prefix_cache.attention_share,
      engine.model_info().vocab_size);
}

void StepRecorder::write_costs(const CostModel& costs, const std::vector<int64_t>& layer_windows) {
  std::string seeds;
  for (const CostModel::Seed& seed : costs.seeds())
    seeds += fmt::format("{}[{}, {}, {}, {}, {}, {}]", seeds.empty() ? "" : ", ", seed.work.num_sequences,
                         seed.work.num_tokens, seed.work.num_logits_rows, seed.work.kv_positions,
                         seed.work.attention_pairs, seed.seconds);
  file_ << fmt::format(R"({{"costs": {{"guess": [{}], "layer_windows": [{}], "seeds": [{}]}}}})"
                       "\n",
                       fmt::join(costs.guess(), ", "), fmt::join(layer_windows, ", "), seeds);
}

void StepRecorder::write_mail(const Engine::MailReport& report) {
  for (const auto& state : report.mail.arrivals) {
    const Request& request = state->request;
    const bool plain = request.num_sequences == 1 && !state->scores.wanted && !request.embed;
    std::string salt;
    append_json_string(salt, request.cache_salt);
    file_ << fmt::format(
        R"({{"arrive": {}, "at": {}, "step": {}, "plain": {}, "max_tokens": {}, "priority": {}, )"
        R"("client": {}, "salt": {}, "prompt": [{}]}})"
        "\n",
        state->id, state->arrival_ns, report.step_start_ns, plain, state->rules.max_tokens, request.priority,
        request.client, salt, fmt::join(request.prompt, ", "));
  }
  const auto note = [&](const char* what, RequestId id) {
    file_ << fmt::format("{{\"{}\": {}, \"step\": {}}}\n", what, id, report.step_start_ns);
  };
  for (const RequestId id : report.mail.cancels) note("cancel", id);
  for (const FlowChange& change : report.mail.flow_changes)
    note(change.kind == FlowChange::Kind::park ? "park" : "resume", change.id);
}

void StepRecorder::write_step(const Engine::StepReport& report) {
  if (!std::exchange(has_costs_, true)) write_costs(report.costs, layer_windows_);
  std::string items;
  for (const PlanItem& item : report.items) {
    const Sequence& sequence = *item.sequence;
    const bool sampled = sequence.last_token_ns == report.end_ns;
    items += fmt::format("{}[{}, {}, {}, {}, {}]", items.empty() ? "" : ", ", sequence.id,
                         item.first_position, item.num_tokens, sampled ? sequence.output.tokens().back() : -1,
                         sequence.state == SequenceState::finished ? 1 : 0);
  }
  file_ << fmt::format("{{\"step\": {}, \"end\": {}, \"items\": [{}]}}\n", report.start_ns, report.end_ns,
                       items);
}

}  // namespace pagoda
