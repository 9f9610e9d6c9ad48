// What the benchmarks of a model share: the bench of one model, and a measurement in its printed forms.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "cli/arguments.h"
#include "cli/bench_machine.h"
#include "cli/loaded_model.h"

namespace pagoda {

// Which peak of the machine the linear layers are held against.
enum class ArithmeticPeak { int8, bf16, f32 };

struct Bench {
  LoadedModel loaded;
  BenchMachine machine;
  ArithmeticPeak peak = ArithmeticPeak::int8;
};

// Loads the model and measures the machine.
Result<Bench> prepare_bench(const ModelArguments& arguments);

// `sequences` of them, each with `depth` tokens in the cache and `tokens` more to compute.
struct BenchCase {
  BenchKind kind = BenchKind::decode;
  int64_t tokens = 0;
  int64_t depth = 0;
  int32_t sequences = 1;
  int32_t chunk = 0;
  bool all_logits = false;
};

struct Measurement {
  BenchCase bench_case;
  int repeat = 0;
  Spread tokens_per_second;
  Work work;                // of one token: its share of the weights, and the keys and values that it reads
  double fill_seconds = 0;  // spent on filling the caches up to this depth
  uint64_t resident_bytes = 0;  // of the process, at the end
};

// Measures all cases of the arguments and hands each to on_measurement. Depths ascend: the caches are filled
// once, by the prefill that is measured elsewhere, and only extended from depth to depth.
Status measure_all(Bench& bench, const BenchArguments& arguments,
                   const std::function<void(const Measurement&)>& on_measurement);
// What a token of this case must read and compute. Sliding windows bound both.
Work work_per_token(const ModelInfo& info, const BenchCase& bench_case, ArithmeticPeak peak);

// Members that every measurement has: model, isa, threads, machine.
void add_common_members(const Bench& bench, boost::json::object& object);
boost::json::object to_object(const Bench& bench, const Measurement& measurement);
// The lines for people: which machine and model, then one row a measurement.
void print_heading(const Bench& bench);
void print_row(const Bench& bench, const Measurement& measurement);

std::string_view to_string(BenchKind kind);

// Deterministic token ids without meaning.
std::vector<int32_t> arbitrary_tokens(int64_t count, int64_t vocab_size);

// bench_kv_cache.cpp
Status run_kv_cache_bench(Bench& bench, const BenchArguments& arguments);

}  // namespace pagoda
