#include <algorithm>
#include <fstream>

#include <boost/json.hpp>

#include "cli/json.h"
#include "cli/trace/step_recording.h"

namespace pagoda {

namespace {

namespace json = boost::json;

// The lines of a recording, one after the other. What json::value's accessors throw means a damaged line.
class Reader {
 public:
  Status read_line(std::string_view text) {
    PAGODA_TRY(const json::object line, json_object_of(text));
    try {
      return read(line);
    } catch (const std::exception&) {
      return fail(ErrorCode::invalid_argument, "not a line of a recording");
    }
  }
  Result<StepRecording> finish(const std::string& path) {
    if (recording_.vocab_size == 0 || recording_.moments.empty())
      return fail(ErrorCode::invalid_argument, "{}: a recording without steps", path);
    return std::move(recording_);
  }

 private:
  Status read(const json::object& line) {
    if (line.contains("recording")) return read_config(line);
    if (recording_.vocab_size == 0)
      return fail(ErrorCode::invalid_argument, "the first line must have a member 'recording'");
    if (line.contains("costs")) return read_costs(line.at("costs").as_object());
    RecordedMoment& moment = moment_at(line.at("step").to_number<int64_t>());
    if (line.contains("arrive")) return read_arrival(line, moment);
    if (line.contains("cancel")) moment.cancels.push_back(line.at("cancel").to_number<RequestId>());
    for (const auto& [name, kind] :
         {std::pair("park", FlowChange::Kind::park), {"resume", FlowChange::Kind::resume}})
      if (line.contains(name)) moment.flow_changes.push_back({line.at(name).to_number<RequestId>(), kind});
    if (line.contains("items")) read_items(line, moment);
    return {};
  }

  Status read_config(const json::object& line) {
    EngineConfig& config = recording_.config;
    config.policy = line.at("policy").as_string();
    config.max_context = line.at("max_context").to_number<int64_t>();
    config.max_batch_tokens = line.at("max_batch_tokens").to_number<int32_t>();
    config.max_sequences = line.at("max_sequences").to_number<int32_t>();
    config.max_queued_requests = line.at("max_queued_requests").to_number<int32_t>();
    config.prefill_chunk = line.at("prefill_chunk").to_number<int32_t>();
    config.max_step_ns = line.at("max_step_ns").to_number<int64_t>();
    config.num_pages = line.at("num_pages").to_number<int32_t>();
    config.prefix_cache.enabled = line.at("prefix_cache").as_bool();
    config.prefix_cache.awaits_returns = line.at("kv_ahead").as_bool();
    config.prefix_cache.eviction = line.at("lru").as_bool() ? Eviction::lru : Eviction::cost;
    config.prefix_cache.attention_share = line.at("attention_share").to_number<double>();
    recording_.vocab_size = line.at("vocab_size").to_number<int64_t>();
    return {};
  }

  Status read_costs(const json::object& costs) {
    const auto windows = json::value_to<std::vector<int64_t>>(costs.at("layer_windows"));
    const auto guess = json::value_to<std::vector<double>>(costs.at("guess"));
    if (guess.size() != kNumCostTerms) return fail(ErrorCode::invalid_argument, "'guess' has another length");
    CostVector seconds{};
    std::ranges::copy(guess, seconds.begin());
    recording_.costs = CostModel(AttentionReach(windows), seconds);
    for (const json::value& entry : costs.at("seeds").as_array()) {
      const json::array& seed = entry.as_array();
      const auto number = [&](size_t i) { return seed.at(i).to_number<double>(); };
      recording_.costs.add_seed({.num_sequences = static_cast<int64_t>(number(0)),
                                 .num_tokens = static_cast<int64_t>(number(1)),
                                 .num_logits_rows = static_cast<int64_t>(number(2)),
                                 .kv_positions = number(3),
                                 .attention_pairs = number(4)},
                                number(5));
    }
    if (!recording_.costs.seeds().empty()) recording_.costs.fit();
    return {};
  }

  Status read_arrival(const json::object& line, RecordedMoment& moment) {
    if (!line.at("plain").as_bool())
      return fail(ErrorCode::unsupported,
                  "request {} has several sequences, log probabilities of its prompt or an embedding; these "
                  "cannot be replayed",
                  line.at("arrive").to_number<uint64_t>());
    moment.arrivals.push_back({.id = line.at("arrive").to_number<RequestId>(),
                               .at_ns = line.at("at").to_number<int64_t>(),
                               .prompt = json::value_to<std::vector<int32_t>>(line.at("prompt")),
                               .max_tokens = line.at("max_tokens").to_number<int64_t>(),
                               .priority = line.at("priority").to_number<int32_t>(),
                               .client = line.at("client").to_number<uint64_t>(),
                               .salt = std::string(line.at("salt").as_string())});
    return {};
  }

  static void read_items(const json::object& line, RecordedMoment& moment) {
    moment.end_ns = line.at("end").to_number<int64_t>();
    for (const json::value& entry : line.at("items").as_array()) {
      const json::array& item = entry.as_array();
      moment.items.push_back({.sequence = item.at(0).to_number<uint64_t>(),
                              .first_position = item.at(1).to_number<int64_t>(),
                              .num_tokens = item.at(2).to_number<int64_t>(),
                              .token = item.at(3).to_number<int32_t>(),
                              .ended = item.at(4).to_number<int>() != 0});
    }
  }

  RecordedMoment& moment_at(int64_t start_ns) {
    if (recording_.moments.empty() || recording_.moments.back().start_ns != start_ns)
      recording_.moments.push_back({.start_ns = start_ns});
    return recording_.moments.back();
  }

  StepRecording recording_;
};

}  // namespace

bool is_recording(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  if (!std::getline(file, line)) return false;
  const Result<json::object> object = json_object_of(line);
  return object && object->contains("recording");
}

Result<StepRecording> read_recording(const std::string& path) {
  Reader reader;
  PAGODA_TRY_STATUS(for_each_line(path, [&](std::string_view line) { return reader.read_line(line); }));
  return reader.finish(path);
}

}  // namespace pagoda
