// What all parts of an answer repeat.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "server/openai/api_error.h"
#include "server/openai/events.h"
#include "server/served_model.h"

namespace pagoda {

struct AnswerInfo {
  std::string id;       // "chatcmpl-…" or "cmpl-…"
  int64_t created = 0;  // Unix seconds
  std::string model;    // the name that the request used
  std::shared_ptr<const ServedModel> served;
  int32_t num_choices = 1;  // per prompt
  bool include_usage = false;
  bool wants_logprobs = false;

  const Tokenizer& tokenizer() const { return served->engine->tokenizer(); }
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;

  void add(const RequestTimings& timings);
  boost::json::object to_json() const;
};

// "stop", "length"; errors and cancellations end an answer in other ways.
std::string_view finish_name(FinishReason reason);
// vLLM's stop_reason: the stop string, or the id out of stop_token_ids, or null for the model's own end.
boost::json::value stop_reason(const SequenceNews& news);

// Builds the chunks of a stream as server-sent events.
class ChunkWriter {
 public:
  ChunkWriter(const AnswerInfo& info, std::string_view object);
  void choice(std::string& out, const boost::json::object& choice) const;
  // The last chunk before the end, if usage was asked for; then "[DONE]".
  void end(std::string& out, const Usage& usage) const;
  static void error(std::string& out, const ApiError& error);

 private:
  std::string prefix_;  // up to the contents of `choices`
  std::string suffix_;  // after them
  bool include_usage_;
};

// The whole of a plain answer.
std::string full_answer(const AnswerInfo& info, std::string_view object, boost::json::array choices,
                        const Usage& usage);

}  // namespace pagoda
