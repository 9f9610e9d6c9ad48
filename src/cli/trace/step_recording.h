// A recording of an engine's steps: what it was asked, when, and what each step computed in which time. A
// replay (step_replay.h) makes the engine decide anew and compares.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace pagoda {

// Writes one JSON object a line while an engine runs:
//   {"recording": 1, …}                          the configuration
//   {"costs": …}                                 the cost model as it was before the first step
//   {"arrive": id, "at": ns, "step": ns, …}      a request, heeded in the step that began then
//   {"cancel"|"park"|"resume": id, "step": ns}   likewise
//   {"step": ns, "end": ns, "items": [[sequence, first position, tokens, sampled token, ended], …]}
// All but the tokens of prompts and answers is numbers; keep the file as you would keep those.
class StepRecorder {
 public:
  // io if the file cannot be written.
  static Result<std::shared_ptr<StepRecorder>> create(const std::string& path);
  // To be called before the engine starts; it keeps the recorder.
  static void attach(const std::shared_ptr<StepRecorder>& recorder, Engine& engine);
  // To be called after the engine's last step. io if something could not be written.
  Status finish();

 private:
  StepRecorder(std::string path, std::ofstream file) : path_(std::move(path)), file_(std::move(file)) {}
  void write_config(const Engine& engine);
  void write_costs(const CostModel& costs, const std::vector<int64_t>& layer_windows);
  void write_mail(const Engine::MailReport& report);
  void write_step(const Engine::StepReport& report);

  const std::string path_;
  std::ofstream file_;
  std::vector<int64_t> layer_windows_;
  bool has_costs_ = false;
};

struct RecordedItem {
  uint64_t sequence = 0;
  int64_t first_position = 0;
  int64_t num_tokens = 0;
  int32_t token = -1;  // sampled after the last of them; -1: none
  bool ended = false;  // the sequence, with this token
  bool operator==(const RecordedItem&) const = default;
};

struct RecordedArrival {
  RequestId id = 0;
  int64_t at_ns = 0;
  std::vector<int32_t> prompt;
  int64_t max_tokens = 0;
  int32_t priority = 0;
  uint64_t client = 0;
  std::string salt;
};

// What happened between the start of a step and that of the next one.
struct RecordedMoment {
  int64_t start_ns = 0;
  std::vector<RecordedArrival> arrivals;
  std::vector<RequestId> cancels;
  std::vector<FlowChange> flow_changes;
  int64_t end_ns = 0;               // of the step's computation; 0: it computed nothing
  std::vector<RecordedItem> items;  // in the order of the plan
};

struct StepRecording {
  EngineConfig config;  // what of it decides anything
  int64_t vocab_size = 0;
  CostModel costs = CostModel();
  std::vector<RecordedMoment> moments;
};

// Whether the file begins like one. No, if it cannot be read.
bool is_recording(const std::string& path);

// invalid_argument or not_found names file, line and what is wrong; unsupported where the recording holds a
// request that a replay cannot repeat: several sequences, log probabilities of the prompt, embeddings.
Result<StepRecording> read_recording(const std::string& path);

}  // namespace pagoda
