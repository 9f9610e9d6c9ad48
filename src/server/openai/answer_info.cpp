#include "server/openai/answer_info.h"

#include <algorithm>

#include <boost/json.hpp>

namespace pagoda {
namespace json = boost::json;

namespace {

constexpr std::string_view kDone = "data: [DONE]\n\n";

json::object head(const AnswerInfo& info, std::string_view object) {
  return {{"id", info.id},
          {"object", object},
          {"created", info.created},
          {"model", info.model},
          {"system_fingerprint", info.served->fingerprint}};
}

}  // namespace

void Usage::add(const RequestTimings& timings, int32_t num_sequences) {
  prompt_tokens += timings.num_prompt_tokens;
  cached_tokens += timings.num_cached_tokens;
  swapped_tokens += timings.num_swapped_tokens;
  kept_tokens += timings.num_kept_tokens;
  completion_tokens += timings.num_generated_tokens;
  prefill_ns += timings.prefill_ns;
  decode_ns += timings.decode_ns;
  waited_ns += timings.waited_ns;
  decode_tokens += std::max<int64_t>(0, timings.num_generated_tokens - num_sequences);
}

json::object Usage::to_json() const {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion_tokens},
          {"total_tokens", prompt_tokens + completion_tokens},
          {"prompt_tokens_details", details_json()},
          {"completion_tokens_details", json::object{{"reasoning_tokens", reasoning_tokens}}}};
}

json::object Usage::details_json() const {
  return {{"cached_tokens", cached_tokens}, {"cache_write_tokens", kept_tokens}};
}

json::object Usage::timings_json() const {
  const int64_t computed_tokens = prompt_tokens - cached_tokens;
  const auto ms = [](int64_t ns) { return static_cast<double>(ns) * 1e-6; };
  const auto ratio = [](double a, double b) { return b > 0 ? a / b : 0.0; };
  const auto tokens = [](int64_t count) { return static_cast<double>(count); };
  return {{"cache_n", cached_tokens},
          {"cache_memory_n", cached_tokens - swapped_tokens},
          {"cache_disk_n", swapped_tokens},
          {"prompt_n", computed_tokens},
          {"prompt_ms", ms(prefill_ns)},
          {"prompt_per_token_ms", ratio(ms(prefill_ns), tokens(computed_tokens))},
          {"prompt_per_second", 1e3 * ratio(tokens(computed_tokens), ms(prefill_ns))},
          {"waiting_ms", ms(waited_ns)},
          {"predicted_n", completion_tokens},
          {"predicted_ms", ms(decode_ns)},
          {"predicted_per_token_ms", ratio(ms(decode_ns), tokens(decode_tokens))},
          {"predicted_per_second", 1e3 * ratio(tokens(decode_tokens), ms(decode_ns))}};
}

void RunningTimings::note(size_t prompt, const PromptProgress& progress) {
  latest_[prompt] = {.prefill_ns = progress.elapsed_ns,
                     .num_prompt_tokens = progress.num_processed_tokens,
                     .num_cached_tokens = progress.num_cached_tokens};
  known_ = true;
}

void RunningTimings::note(size_t prompt, const SequenceNews& news) {
  if (!news.timings) return;
  latest_[prompt] = *news.timings;
  known_ = true;
}

json::object RunningTimings::to_json() const {
  Usage sum;
  for (const RequestTimings& timings : latest_) sum.add(timings, num_choices_);
  return sum.timings_json();
}

json::object to_json(const PromptProgress& progress) {
  return {{"total", progress.num_prompt_tokens},
          {"cache", progress.num_cached_tokens},
          {"processed", progress.num_processed_tokens},
          {"time_ms", progress.elapsed_ns / 1'000'000}};
}

std::string_view finish_name(FinishReason reason) {
  return reason == FinishReason::length ? "length" : "stop";
}

json::value stop_reason(const SequenceNews& news) {
  if (!news.stop_match.empty()) return json::value(news.stop_match);
  if (news.stop_token >= 0) return json::value(news.stop_token);
  return nullptr;
}

ChunkWriter::ChunkWriter(const AnswerInfo& info, std::string_view object)
    : include_usage_(info.include_usage),
      continuous_usage_(info.continuous_usage),
      wants_timings_(info.wants_timings),
      so_far_{.prompt_tokens = info.num_prompt_tokens},
      timings_(info.prompts.size(), info.num_choices) {
  prefix_ = json::serialize(head(info, object));
  prefix_.back() = ',';  // in place of the closing brace
  prefix_ = fmt::format("data: {}\"choices\":[", prefix_);
}

void ChunkWriter::choice(std::string& out, const json::object& choice, const json::object& extra) const {
  out += prefix_;
  out += json::serialize(choice);
  out += ']';
  for (const auto& [name, value] : extra)
    out += fmt::format(",{}:{}", json::serialize(name), json::serialize(value));
  if (include_usage_) out += ",\"usage\":";
  if (include_usage_) out += continuous_usage_ ? json::serialize(so_far_.to_json()) : "null";
  if (wants_timings_ && timings_.known()) {
    out += ",\"timings\":";
    out += json::serialize(timings_.to_json());
  }
  out += "}\n\n";
}

void ChunkWriter::progress(std::string& out, size_t prompt, const PromptProgress& progress,
                           const json::object& choice) {
  timings_.note(prompt, progress);
  this->choice(out, choice, json::object{{"prompt_progress", pagoda::to_json(progress)}});
}

void ChunkWriter::count(size_t prompt, const SequenceNews& news, int64_t reasoning_tokens) {
  so_far_.completion_tokens += news.num_tokens;
  so_far_.reasoning_tokens = reasoning_tokens;
  timings_.note(prompt, news);
}

void ChunkWriter::end(std::string& out, const Usage& usage) const {
  if (include_usage_) {
    out += prefix_;
    out += "],\"usage\":";
    out += json::serialize(usage.to_json());
    out += ",\"timings\":";
    out += json::serialize(usage.timings_json());
    out += "}\n\n";
  }
  out += kDone;
}

void ChunkWriter::error(std::string& out, const ApiError& error) {
  out += "data: ";
  out += pagoda::to_json(error);
  out += "\n\n";
  out += kDone;
}

std::string full_answer(const AnswerInfo& info, std::string_view object, json::array choices,
                        const Usage& usage, const json::object& extra) {
  json::object answer = head(info, object);
  answer["choices"] = std::move(choices);
  answer["usage"] = usage.to_json();
  answer["timings"] = usage.timings_json();
  for (const auto& [name, value] : extra) answer[name] = value;
  return json::serialize(answer);
}

json::array to_json(std::span<const int32_t> token_ids) {
  json::array ids;
  ids.reserve(token_ids.size());
  for (const int32_t id : token_ids) ids.emplace_back(id);
  return ids;
}

}  // namespace pagoda
