#include "server/metrics.h"

#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace pagoda {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// Collects families that all carry the same labels.
class FamilyList {
 public:
  explicit FamilyList(std::vector<ClientMetric::Label> labels) : labels_(std::move(labels)) {}

  void gauge(const char* name, const char* help, double value) {
    ClientMetric metric = labelled();
    metric.gauge.value = value;
    add(name, help, MetricType::Gauge).metric.push_back(std::move(metric));
  }
  void counter(const char* name, const char* help, uint64_t value) {
    ClientMetric metric = labelled();
    metric.counter.value = static_cast<double>(value);
    add(name, help, MetricType::Counter).metric.push_back(std::move(metric));
  }
  void seconds_counter(const char* name, const char* help, double seconds) {
    ClientMetric metric = labelled();
    metric.counter.value = seconds;
    add(name, help, MetricType::Counter).metric.push_back(std::move(metric));
  }
  // One counter, or gauge, for each value of the label.
  void counters(const char* name, const char* help, const char* label,
                std::initializer_list<std::pair<const char*, uint64_t>> values) {
    MetricFamily& family = add(name, help, MetricType::Counter);
    for (const auto& [value, count] : values) {
      ClientMetric metric = labelled(label, value);
      metric.counter.value = static_cast<double>(count);
      family.metric.push_back(std::move(metric));
    }
  }
  void gauges(const char* name, const char* help, const char* label,
              std::initializer_list<std::pair<const char*, double>> values) {
    MetricFamily& family = add(name, help, MetricType::Gauge);
    for (const auto& [value, number] : values) {
      ClientMetric metric = labelled(label, value);
      metric.gauge.value = number;
      family.metric.push_back(std::move(metric));
    }
  }
  void histogram(const char* name, const char* help, const HistogramData& data) {
    histogram(name, help, data.bounds, data.counts, data.sum);
  }
  void histogram(const char* name, const char* help, const ResidencyHistogram& data) {
    histogram(name, help, data.kSeconds, data.counts, data.sum);
  }
  // `counts` has one more than there are bounds.
  void histogram(const char* name, const char* help, std::span<const double> bounds,
                 std::span<const uint64_t> counts, double sum) {
    ClientMetric metric = labelled();
    uint64_t cumulative = 0;
    for (size_t i = 0; i < bounds.size() && i < counts.size(); ++i) {
      cumulative += counts[i];
      metric.histogram.bucket.push_back({cumulative, bounds[i]});
    }
    if (!counts.empty()) cumulative += counts.back();
    metric.histogram.bucket.push_back({cumulative, std::numeric_limits<double>::infinity()});
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = sum;
    add(name, help, MetricType::Histogram).metric.push_back(std::move(metric));
  }
  MetricFamily& add(const char* name, const char* help, MetricType type) {
    families_.push_back({.name = name, .help = help, .type = type, .metric = {}});
    return families_.back();
  }
  ClientMetric labelled() const {
    ClientMetric metric;
    metric.label = labels_;
    return metric;
  }
  ClientMetric labelled(const char* label, const char* value) const {
    ClientMetric metric = labelled();
    metric.label.push_back({label, value});
    return metric;
  }
  std::string text() const { return prometheus::TextSerializer{}.Serialize(families_); }

 private:
  std::vector<ClientMetric::Label> labels_;
  std::vector<MetricFamily> families_;
};

void add_gauges(FamilyList& list, const EngineStats& stats, const EngineConfig& config) {
  list.gauge("vllm:num_requests_running", "Sequences in execution.", static_cast<double>(stats.num_running));
  list.gauge("vllm:num_requests_waiting", "Requests waiting to be processed.",
             static_cast<double>(stats.num_waiting));
  list.gauges("vllm:num_requests_waiting_by_reason",
              "Requests waiting, for room or (parked) for clients that do not read.", "reason",
              {{"capacity", static_cast<double>(stats.num_waiting - stats.num_parked)},
               {"parked", static_cast<double>(stats.num_parked)}});
  list.gauge("vllm:kv_cache_usage_perc", "KV cache usage; 1 means 100 percent.", stats.kv_usage);
  list.gauges("pagoda:prefix_cache_pages", "Pages that no request uses and the prefix cache keeps, by where.",
              "tier",
              {{"memory", static_cast<double>(stats.prefix_cache.num_cached)},
               {"disk", static_cast<double>(stats.prefix_cache.num_swapped)}});
  MetricFamily& info = list.add("vllm:cache_config_info", "Size of the KV cache.", MetricType::Gauge);
  ClientMetric metric = list.labelled();
  metric.label.push_back({"block_size", fmt::format("{}", kPageTokens)});
  metric.label.push_back({"num_cpu_blocks", fmt::format("{}", config.num_pages)});
  metric.label.push_back({"enable_prefix_caching", config.prefix_cache.enabled ? "True" : "False"});
  metric.label.push_back({"kv_cache_size_tokens", fmt::format("{}", config.kv_capacity_tokens())});
  // Sequences that fit at full context.
  const double concurrency =
      static_cast<double>(config.kv_capacity_tokens()) / static_cast<double>(config.max_context);
  metric.label.push_back({"kv_cache_max_concurrency", fmt::format("{:.2f}", concurrency)});
  metric.gauge.value = 1;
  info.metric.push_back(std::move(metric));
}

void add_finished(FamilyList& list, const EngineStats& stats) {
  list.counters("vllm:request_success_total", "Finished requests by reason.", "finished_reason",
                {{"stop", stats.finished_stop},
                 {"length", stats.finished_length},
                 {"abort", stats.finished_abort},
                 {"error", stats.finished_error}});
}

void add_rejections(FamilyList& list, const EngineStats& stats, const RefusalCounts& refusals) {
  list.counters("vllm:admission_rejections_total", "Requests refused for lack of room or time, by reason.",
                "reason",
                {{"queue_full", stats.rejected_queue_full},
                 {"queued_tokens", stats.rejected_queued_tokens},
                 {"shutting_down", stats.rejected_closed},
                 {"key_concurrency", refusals.of(Refusal::key_concurrency)},
                 {"key_tokens", refusals.of(Refusal::key_tokens)},
                 {"deadline", refusals.of(Refusal::deadline)}});
}

void add_counters(FamilyList& list, const EngineStats& stats) {
  list.counter("vllm:num_preemptions_total", "Preemptions.", stats.num_preemptions);
  list.counter("vllm:prompt_tokens_total", "Prefill tokens processed.", stats.prompt_tokens);
  list.counters("vllm:prompt_tokens_by_source_total", "Prompt tokens by where they came from.", "source",
                {{"local_compute", stats.prompt_tokens - stats.prompt_tokens_cached},
                 {"local_cache_hit", stats.prompt_tokens_cached - stats.prompt_tokens_swapped},
                 {"external_kv_transfer", stats.prompt_tokens_swapped}});
  list.counter("vllm:prompt_tokens_cached_total", "Prompt tokens found in the cache.",
               stats.prompt_tokens_cached);
  list.counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the cache.",
               stats.prompt_tokens);
  list.counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the cache.",
               stats.prompt_tokens_cached);
  list.counter("vllm:external_prefix_cache_queries_total",
               "Prompt tokens not found in memory and looked up on disk.",
               stats.prompt_tokens - (stats.prompt_tokens_cached - stats.prompt_tokens_swapped));
  list.counter("vllm:external_prefix_cache_hits_total", "Prompt tokens found on disk.",
               stats.prompt_tokens_swapped);
  list.counters("pagoda:prefix_cache_pages_total", "Pages of the prefix cache by what happened to them.",
                "event",
                {{"evicted", stats.prefix_cache.evicted_pages},
                 {"dropped", stats.prefix_cache.dropped_pages},
                 {"stored", stats.prefix_cache.stored_pages},
                 {"loaded", stats.prefix_cache.loaded_pages},
                 {"lost", stats.prefix_cache.lost_pages}});
  list.counter("vllm:generation_tokens_total", "Tokens generated.", stats.generation_tokens);
  list.counter("vllm:corrupted_requests_total", "Requests whose logits were not numbers.",
               stats.corrupted_requests);
  list.counter("pagoda:engine_steps_total", "Steps of the engine.", stats.num_steps);
}

void add_histograms(FamilyList& list, const EngineStats& stats) {
  list.histogram("vllm:time_to_first_token_seconds", "Time to first token.", stats.time_to_first_token);
  list.histogram("vllm:inter_token_latency_seconds", "Time between tokens.", stats.inter_token_latency);
  list.histogram("vllm:request_time_per_output_token_seconds", "Mean time per output token of a request.",
                 stats.request_time_per_output_token);
  list.histogram("vllm:e2e_request_latency_seconds", "Time from arrival to end.", stats.e2e_latency);
  list.histogram("vllm:request_queue_time_seconds", "Time spent waiting.", stats.queue_time);
  list.histogram("vllm:request_inference_time_seconds", "Time from first scheduled to last token.",
                 stats.inference_time);
  list.histogram("vllm:request_prefill_time_seconds", "Time from first scheduled to first token.",
                 stats.prefill_time);
  list.histogram("vllm:request_decode_time_seconds", "Time from first to last token.", stats.decode_time);
  list.histogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", stats.request_prompt_tokens);
  list.histogram("vllm:request_generation_tokens", "Generated tokens of a request.",
                 stats.request_generation_tokens);
  list.histogram("vllm:request_max_num_generation_tokens", "Tokens of a request's longest sequence.",
                 stats.request_max_generation_tokens);
  list.histogram("vllm:request_params_max_tokens", "The max_tokens parameter.", stats.request_max_tokens);
  list.histogram("vllm:request_params_n", "The n parameter.", stats.request_n);
  list.histogram("vllm:request_num_preemptions", "How often a request was preempted.",
                 stats.request_preemptions);
  list.histogram("vllm:iteration_tokens_total", "Prompt tokens computed and tokens generated in one step.",
                 stats.iteration_tokens);
  list.histogram("pagoda:step_time_seconds", "Time of a step of the engine.", stats.step_time);
}

void add_residency(FamilyList& list, const PageResidency& pages) {
  list.histogram("vllm:kv_block_lifetime_seconds", "Time from a page's coming into memory to its eviction.",
                 pages.lifetime);
  list.histogram("vllm:kv_block_idle_before_evict_seconds", "Time from a page's last use to its eviction.",
                 pages.idle);
  list.histogram("vllm:kv_block_reuse_gap_seconds", "Time from one use of a page to the next.", pages.reuse);
}

void add_cost_model(FamilyList& list, const EngineStats& stats) {
  list.seconds_counter("pagoda:step_predicted_seconds_total",
                       "Time that the cost model predicted for the steps that ran.",
                       stats.predicted_step_seconds);
  list.gauge("pagoda:cost_model_median_error_ratio",
             "Median relative error of recent predictions at the pace of the steps before.",
             stats.costs.median_error);
  list.gauge("pagoda:cost_model_margin_ratio",
             "99th percentile of how much longer recent steps with prompts took than predicted at that pace.",
             stats.costs.margin);
  list.gauge(
      "pagoda:cost_model_pace_ratio",
      "Time of the last steps by what the coefficients say: above 1 where the machine is slow just now.",
      stats.costs.pace);
  MetricFamily& family = list.add("pagoda:cost_model_coefficient_seconds",
                                  "What one unit of a term adds to the time of a step.", MetricType::Gauge);
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    ClientMetric metric = list.labelled("term", std::string(to_string(static_cast<CostTerm>(i))).c_str());
    metric.gauge.value = stats.costs.coefficients[i];
    family.metric.push_back(std::move(metric));
  }
}

}  // namespace

struct HttpMetrics::Families {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>* requests = nullptr;
  prometheus::Family<prometheus::Histogram>* durations = nullptr;
};

HttpMetrics::HttpMetrics() : families_(std::make_unique<Families>()) {
  families_->requests = &prometheus::BuildCounter()
                             .Name("http_requests_total")
                             .Help("Answered HTTP requests by handler, method and class of status.")
                             .Register(families_->registry);
  families_->durations = &prometheus::BuildHistogram()
                              .Name("http_request_duration_seconds")
                              .Help("Time from a request's first byte to its answer's last.")
                              .Register(families_->registry);
}

HttpMetrics::~HttpMetrics() = default;

void HttpMetrics::count(std::string_view handler, std::string_view method, int status, double seconds) {
  static const prometheus::Histogram::BucketBoundaries kSeconds = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5,
                                                                   1,     5,     10,   60,   300};
  const std::string route(handler);
  const std::string verb(method);
  families_->requests
      ->Add({{"handler", route}, {"method", verb}, {"status", fmt::format("{}xx", status / 100)}})
      .Increment();
  families_->durations->Add({{"handler", route}, {"method", verb}}, kSeconds).Observe(seconds);
}

std::string HttpMetrics::text() const {
  return prometheus::TextSerializer{}.Serialize(families_->registry.Collect());
}

std::string trace_metrics_text(uint64_t num_exported, uint64_t num_dropped) {
  FamilyList list({});
  list.counter("pagoda_otlp_spans_exported_total", "Spans that the collector has taken.", num_exported);
  list.counter("pagoda_otlp_spans_dropped_total", "Spans lost to a full queue or a failing collector.",
               num_dropped);
  return list.text();
}

std::string engine_metrics_text(const EngineStats& stats, const EngineConfig& config,
                                std::string_view model_name, const RefusalCounts& refusals) {
  FamilyList list({{"engine", "0"}, {"model_name", std::string(model_name)}});
  add_gauges(list, stats, config);
  add_finished(list, stats);
  add_rejections(list, stats, refusals);
  add_counters(list, stats);
  add_histograms(list, stats);
  add_residency(list, stats.prefix_cache.residency);
  add_cost_model(list, stats);
  return list.text();
}

}  // namespace pagoda
