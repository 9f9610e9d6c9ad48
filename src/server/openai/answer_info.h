// What all parts of an answer repeat.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "server/openai/api_error.h"
#include "server/openai/events.h"
#include "server/openai/token_text.h"
#include "server/served_model.h"

namespace pagoda {

struct AnswerInfo {
  std::string id;       // "chatcmpl-…" or "cmpl-…"
  int64_t created = 0;  // Unix seconds
  std::string model;    // the name that the request used
  std::shared_ptr<const ServedModel> served;
  int32_t num_choices = 1;   // per prompt
  int32_t num_returned = 1;  // of them, the best ones
  bool include_usage = false;
  bool continuous_usage = false;  // in every chunk
  bool wants_timings = false;     // likewise
  bool wants_logprobs = false;
  int64_t max_top_logprobs = kMaxLogprobs;     // per token of a completion
  std::optional<int64_t> num_prompt_logprobs;  // prompt_logprobs, if wanted
  TokenNames token_names = TokenNames::text;   // in log probabilities
  bool wants_token_ids = false;
  int64_t num_prompt_tokens = 0;              // of all prompts
  std::vector<std::vector<int32_t>> prompts;  // empty ones unless something above wants them
  std::shared_ptr<const OutputPlan> output;   // of a chat
  std::string echo;                           // what the text of a chat begins with

  const Tokenizer& tokenizer() const { return served->engine->tokenizer(); }
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t swapped_tokens = 0;  // of those, read from disk
  int64_t kept_tokens = 0;     // of the prompts, computed and put in the prefix cache
  int64_t completion_tokens = 0;
  int64_t prefill_ns = 0;  // of all prompts, one after the other
  int64_t decode_ns = 0;
  int64_t waited_ns = 0;         // for a place or behind others' steps
  int64_t reasoning_tokens = 0;  // of completion_tokens, where they are counted
  int64_t decode_tokens = 0;     // of completion_tokens: all but the first ones, which come with the prefill

  void add(const RequestTimings& timings, int32_t num_sequences);
  boost::json::object to_json() const;
  // {cached_tokens, cache_write_tokens}: OpenAI's prompt_tokens_details.
  boost::json::object details_json() const;
  // As llama.cpp has it: {cache_n, prompt_n, prompt_ms, …, predicted_n, predicted_ms, …}.
  boost::json::object timings_json() const;
};

// "stop", "length"; errors and cancellations end an answer in other ways.
std::string_view finish_name(FinishReason reason);
// vLLM's stop_reason: the stop string, or the id out of stop_token_ids, or null for the model's own end.
boost::json::value stop_reason(const SequenceNews& news);

// What is known of a request's prompts while they are worked on, where that is asked for.
class RunningTimings {
 public:
  RunningTimings(size_t num_prompts, int32_t num_choices) : latest_(num_prompts), num_choices_(num_choices) {}

  void note(size_t prompt, const PromptProgress& progress);
  void note(size_t prompt, const SequenceNews& news);
  bool known() const { return known_; }
  // As in Usage::timings_json, of all prompts.
  boost::json::object to_json() const;

 private:
  std::vector<RequestTimings> latest_;
  int32_t num_choices_;
  bool known_ = false;
};

// llama.cpp's prompt_progress: {total, cache, processed, time_ms}, in tokens.
boost::json::object to_json(const PromptProgress& progress);

// Builds the chunks of a stream as server-sent events.
class ChunkWriter {
 public:
  ChunkWriter(const AnswerInfo& info, std::string_view object);
  // `extra`: further members of the chunk.
  void choice(std::string& out, const boost::json::object& choice,
              const boost::json::object& extra = {}) const;
  // A chunk about a prompt; `choice`: an empty one.
  void progress(std::string& out, size_t prompt, const PromptProgress& progress,
                const boost::json::object& choice);
  // What the next chunks' usage and timings count; `reasoning_tokens`: of all news so far.
  void count(size_t prompt, const SequenceNews& news, int64_t reasoning_tokens = 0);
  // The last chunk before the end, if usage was asked for; then "[DONE]".
  void end(std::string& out, const Usage& usage) const;
  static void error(std::string& out, const ApiError& error);

 private:
  std::string prefix_;  // up to the contents of `choices`
  bool include_usage_;
  bool continuous_usage_;
  bool wants_timings_;
  Usage so_far_;
  RunningTimings timings_;
};

// The whole of a plain answer.
// `extra`: further members.
std::string full_answer(const AnswerInfo& info, std::string_view object, boost::json::array choices,
                        const Usage& usage, const boost::json::object& extra = {});

boost::json::array to_json(std::span<const int32_t> token_ids);

}  // namespace pagoda
