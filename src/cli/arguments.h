// What each command was asked to do, parsed and checked for form; and the functions that do it, one file per
// command.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/log_event.h"
#include "base/result.h"
#include "cli/trace/trace_file.h"
#include "engine/engine_config.h"
#include "server/server_options.h"
#include "tensor/dtype.h"

namespace pagoda {

// What a linear layer multiplies.
struct LinearFormat {
  DType weights = DType::f32;
  FloatActivations activations = FloatActivations::f32;
  Packing packing = Packing::plain;

  bool operator==(const LinearFormat&) const = default;
};

// Options of every command that loads a model. 0 means "choose for me".
struct ModelArguments {
  std::string model;  // as given: a path or a short name (model_path.h)
  int num_threads = 0;
  uint64_t memory_bytes = 0;
  int64_t max_context = 0;
  std::optional<KvType> kv_type;
  FloatActivations float_activations = FloatActivations::f32;
  std::optional<std::string> packed_cache;  // a folder; "": beside the model
  int64_t min_screened_weights = kMinScreenedWeights;
  std::optional<LogLevel> log_level;
};

// What differs from the model's own defaults.
struct SamplingArguments {
  std::optional<float> temperature;
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<uint64_t> seed;
};

struct ServeArguments {
  ModelArguments model;
  EngineOptions engine;  // beside those of `model`
  ServerOptions server;
  std::string api_key_file;
  std::string chat_template_file;  // in place of the model's
  std::string record_steps;        // file; empty: no recording
  LogFormat log_format = LogFormat::text;
};

struct RunArguments {
  ModelArguments model;
  SamplingArguments sampling;
  std::string prompt;  // "-": standard input
  std::string system;
  std::vector<std::string> stop;
  int64_t max_tokens = 0;  // 0: up to the end of the context
  bool chat = false;
  bool ignore_eos = false;
  bool json = false;
};

struct ChatArguments {
  ModelArguments model;
  SamplingArguments sampling;
  std::string system;
  int64_t max_tokens = 0;
};

struct InspectArguments {
  std::string model;
  bool json = false;
};

enum class BenchKind { prefill, decode, batch, kv_cache };

struct BenchArguments {
  ModelArguments model;
  BenchKind kind = BenchKind::decode;
  std::vector<int64_t> tokens;     // one measurement each
  std::vector<int32_t> sequences;  // likewise (batch)
  std::vector<int64_t> depths;     // likewise: tokens in the cache before the measurement
  int32_t chunk = 0;               // tokens of a prompt in one step
  bool all_logits = false;         // of every step, not only the greatest (decode and batch)
  int repeat = 0;
  std::string prompt;  // kv-cache
  bool json = false;
};

struct BenchKernelsArguments {
  int num_threads = 0;
  double seconds = 0;  // for all of it, limits and preparation included
  std::vector<LinearFormat> formats;
  std::vector<int64_t> depths;  // of attention
  uint64_t working_set_bytes = 0;
  std::optional<int64_t> prefetch_bytes;  // both of Prefetch in place of the machine's
  bool json = false;
};

// In which state the page cache is before a load.
enum class FileCache { warm, cold };

struct BenchLoadArguments {
  ModelArguments model;
  std::vector<FileCache> caches;  // one measurement each
  int64_t prompt_tokens = 0;
  int64_t context = 0;  // tokens that the sequence is filled to after its first new token; 0: no more
  int repeat = 0;
  bool json = false;
};

struct BenchConstraintArguments {
  ModelArguments model;
  std::vector<int32_t> sequences;  // one measurement each, greedy and sampled
  int64_t tokens = 0;
  std::string schema;  // JSON; empty: one of the benchmark's own
  int repeat = 0;
  bool json = false;
};

struct BenchKvDiskArguments {
  std::string folder;
  uint64_t bytes = 0;  // of pages written and read in one measurement
  uint64_t page_bytes = 0;
  int queue_depth = 0;
  int repeat = 0;
  bool json = false;
};

struct BenchPrefixCacheArguments {
  std::vector<int32_t> nodes;  // one measurement each
  int steps = 0;
  bool json = false;
};

// How the outcomes of a trace are summed up.
struct ReportArguments {
  std::string trace;       // file
  std::string cost_model;  // file; empty: isolated times are not known
  std::string requests_out;
  double ttft_ms = 0;
  double tpot_ms = 0;
  double warm_up_seconds = 0;
  bool json = false;
};

struct BenchTraceArguments {
  ReportArguments report;
  std::string url;
  std::string served_model;  // empty: ask the server
  std::string api_key;
  std::string salt;
  TokenRange ids;
  int num_clients = 0;  // 0: as the trace says
  double timeout_seconds = 0;
  bool predict = false;
};

struct SimulateArguments {
  ReportArguments report;    // with a cost model
  std::string replay;        // a recording of steps instead of a trace
  std::string pace;          // a recording of steps; empty: the machine never changes
  std::string record_steps;  // file; empty: no recording
  std::string disk_model;    // file; empty: no disk
  EngineOptions engine;
  int64_t kv_tokens = 0;
  int64_t max_tokens = 0;
};

struct BenchCostModelArguments {
  ModelArguments model;
  EngineOptions engine;  // beside those of `model`
  double seconds = 0;    // half of it to fit, half to compare
  uint64_t seed = 0;     // of the requests
  bool json = false;
};

struct BenchPreemptionArguments {
  ModelArguments model;
  int32_t sequences = 0;
  int64_t prompt_tokens = 0;
  int64_t tokens = 0;       // generated by each
  int64_t preemptions = 0;  // of all together, in one turn
  int repeat = 0;
  uint64_t seed = 0;  // of who is preempted
  bool json = false;
};

// What to do with a folder of stored KV pages.
enum class CacheAction { inspect, verify, clear };

struct CacheArguments {
  CacheAction action = CacheAction::inspect;
  std::string folder;
  bool json = false;
};

struct EvalLogitsArguments {
  ModelArguments model;
  std::vector<int32_t> ids;
  std::string ids_file;  // where ids is empty
  std::string out;
  int32_t chunk = 0;
};

struct EvalGenerateArguments {
  ModelArguments model;
  std::vector<int32_t> ids;
  std::string ids_file;  // where ids is empty
  int64_t max_tokens = 0;
  int32_t chunk = 0;
  bool json = false;
};

struct EvalTokenizeArguments {
  std::string model;
  std::string file;
  bool specials_as_text = false;
};

struct EvalTemplateArguments {
  std::string model;
  std::string chats;
  std::string template_file;  // empty: the model's own
};

struct EvalPerplexityArguments {
  ModelArguments model;
  std::string file;
  int64_t context = 0;
  int64_t max_chunks = 0;  // 0: all
  int32_t chunk = 0;
  std::optional<KvType> reference_kv_type;  // compare with the model that has such a KV cache
  bool json = false;
};

Status execute(const ServeArguments& arguments);
Status execute(const RunArguments& arguments);
Status execute(const ChatArguments& arguments);
Status execute(const InspectArguments& arguments);
Status execute(const BenchArguments& arguments);
Status execute(const BenchKernelsArguments& arguments);
Status execute(const BenchLoadArguments& arguments);
Status execute(const BenchConstraintArguments& arguments);
Status execute(const BenchKvDiskArguments& arguments);
Status execute(const BenchPrefixCacheArguments& arguments);
Status execute(const BenchTraceArguments& arguments);
Status execute(const SimulateArguments& arguments);
Status execute(const BenchCostModelArguments& arguments);
Status execute(const BenchPreemptionArguments& arguments);
Status execute(const CacheArguments& arguments);
Status execute(const EvalLogitsArguments& arguments);
Status execute(const EvalGenerateArguments& arguments);
Status execute(const EvalTokenizeArguments& arguments);
Status execute(const EvalTemplateArguments& arguments);
Status execute(const EvalPerplexityArguments& arguments);

using Command = std::variant<ServeArguments, RunArguments, ChatArguments, InspectArguments, BenchArguments,
                             BenchKernelsArguments, BenchLoadArguments, BenchConstraintArguments,
                             BenchKvDiskArguments, BenchPrefixCacheArguments, BenchTraceArguments,
                             BenchCostModelArguments, BenchPreemptionArguments, SimulateArguments,
                             CacheArguments, EvalLogitsArguments, EvalGenerateArguments,
                             EvalTokenizeArguments, EvalTemplateArguments, EvalPerplexityArguments>;

}  // namespace pagoda
