#include "server/openai/answer_info.h"

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

void Usage::add(const RequestTimings& timings) {
  prompt_tokens += timings.num_prompt_tokens;
  cached_tokens += timings.num_cached_tokens;
  completion_tokens += timings.num_generated_tokens;
}

json::object Usage::to_json() const {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion_tokens},
          {"total_tokens", prompt_tokens + completion_tokens},
          {"prompt_tokens_details", json::object{{"cached_tokens", cached_tokens}}}};
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
    : include_usage_(info.include_usage) {
  prefix_ = json::serialize(head(info, object));
  prefix_.back() = ',';  // in place of the closing brace
  prefix_ = fmt::format("data: {}\"choices\":[", prefix_);
  suffix_ = include_usage_ ? "],\"usage\":null}\n\n" : "]}\n\n";
}

void ChunkWriter::choice(std::string& out, const json::object& choice) const {
  out += prefix_;
  out += json::serialize(choice);
  out += suffix_;
}

void ChunkWriter::end(std::string& out, const Usage& usage) const {
  if (include_usage_) {
    out += prefix_;
    out += "],\"usage\":";
    out += json::serialize(usage.to_json());
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
                        const Usage& usage) {
  json::object answer = head(info, object);
  answer["choices"] = std::move(choices);
  answer["usage"] = usage.to_json();
  return json::serialize(answer);
}

}  // namespace pagoda
