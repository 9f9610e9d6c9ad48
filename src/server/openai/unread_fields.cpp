#include "server/openai/unread_fields.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "base/log.h"

namespace pagoda {
namespace {

// Ascending. What llama.cpp, vLLM, SGLang, ollama and newer OpenAI clients send.
constexpr std::string_view kNames[] = {
    "adaptive_target",
    "backend_sampling",
    "bootstrap_host",
    "cache_prompt",
    "chat_format",
    "custom_logit_processor",
    "custom_params",
    "data_parallel_rank",
    "detokenize",
    "dry_allowed_length",
    "dry_base",
    "dry_multiplier",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "dynatemp_exponent",
    "dynatemp_range",
    "early_stopping",
    "ebnf",
    "extra_body",
    "format",
    "grammar_lazy",
    "id_slot",
    "images",
    "include_reasoning",
    "input",
    "keep_alive",
    "kv_transfer_params",
    "length_penalty",
    "logits_processors",
    "lora",
    "lora_path",
    "min_keep",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "mm_processor_kwargs",
    "n_cmpl",
    "n_discard",
    "n_indent",
    "n_keep",
    "n_probs",
    "no_stop_trim",
    "num_ctx",
    "num_predict",
    "options",
    "parallel_tool_calls",
    "parse_tool_calls",
    "penalty_last_n",
    "plugins",
    "post_sampling_probs",
    "prediction",
    "provider",
    "raw",
    "reasoning",
    "reasoning_budget",
    "reasoning_effort",
    "reasoning_format",
    "regex",
    "repeat_last_n",
    "repeat_penalty",
    "repetition_detection",
    "request_id",
    "response_fields",
    "return_hidden_states",
    "return_tokens",
    "samplers",
    "separate_reasoning",
    "session_id",
    "session_params",
    "stop_regex",
    "stream_reasoning",
    "t_max_predict_ms",
    "tfs_z",
    "think",
    "thinking",
    "thinking_budget",
    "thinking_token_budget",
    "top_a",
    "top_n_sigma",
    "typical_p",
    "verbosity",
    "vllm_xargs",
    "xtc_probability",
    "xtc_threshold",
};
static_assert(std::ranges::is_sorted(kNames));

constexpr size_t kMaxLoggedBytes = 64;  // of a name

size_t label_index(std::string_view name) {
  const auto* found = std::ranges::lower_bound(kNames, name);
  const bool known = found != std::end(kNames) && *found == name;
  return known ? static_cast<size_t>(found - std::begin(kNames)) : std::size(kNames);
}

}  // namespace

void UnreadFieldCounter::count(std::span<const std::string> names, const std::string& request_id) {
  static_assert(std::size(kNames) < kMaxLabels);
  for (const std::string& name : names) {
    counts_[label_index(name)].fetch_add(1, std::memory_order_relaxed);
    PAGODA_DEBUG("{}: the field '{}' is not known and was ignored", request_id,
                 std::string_view(name).substr(0, kMaxLoggedBytes));
  }
}

std::string UnreadFieldCounter::metrics_text() const {
  std::string text =
      "# HELP pagoda_unknown_request_fields_total Fields of request bodies that were ignored.\n"
      "# TYPE pagoda_unknown_request_fields_total counter\n";
  for (size_t i = 0; i <= std::size(kNames); ++i) {
    const uint64_t count = counts_[i].load(std::memory_order_relaxed);
    if (count == 0) continue;
    const std::string_view name = i < std::size(kNames) ? kNames[i] : "other";
    text += fmt::format("pagoda_unknown_request_fields_total{{field=\"{}\"}} {}\n", name, count);
  }
  return text;
}

}  // namespace pagoda
