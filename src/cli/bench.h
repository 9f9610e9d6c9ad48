// What the benchmarks share: the bench of one model, samples, and a measurement in its printed forms.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "cli/arguments.h"
#include "cli/loaded_model.h"
#include "kernels/machine_limits.h"

namespace pagoda {

// Which peak of the machine the linear layers are held against.
enum class ArithmeticPeak { int8, f32 };

struct Bench {
  LoadedModel loaded;
  MachineLimits limits;
  ArithmeticPeak peak = ArithmeticPeak::int8;

  double peak_ops_per_second() const {
    return peak == ArithmeticPeak::int8 ? limits.int8_ops_per_second : limits.f32_ops_per_second;
  }
};

// Loads the model and measures the machine.
Result<Bench> prepare_bench(const ModelArguments& arguments);

struct Spread {
  double min = 0;
  double median = 0;
  double max = 0;
};
// Of at least one value.
Spread spread_of(std::vector<double> values);

// One bench_case: `sequences` of them, each with `depth` tokens in the cache and `tokens` more to compute.
struct BenchCase {
  BenchKind kind = BenchKind::decode;
  int64_t tokens = 0;
  int64_t depth = 0;
  int32_t sequences = 1;
  int32_t chunk = 0;
};

struct Measurement {
  BenchCase bench_case;
  int repeat = 0;
  Spread tokens_per_second;
  double bytes_per_token = 0;       // weights and KV that a token reads, its share of what a step reads once
  double operations_per_token = 0;  // of linear layers, a multiply and an add are two
};

// Repeats one bench_case; fresh caches each time.
Result<Measurement> measure(Bench& bench, const BenchCase& bench_case, int repeat);
// What a token of this bench_case must read and compute.
void count_work(const ModelInfo& info, const BenchCase& bench_case, Measurement& measurement);

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
