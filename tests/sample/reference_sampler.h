// Sampling written for reading: sort everything, keep probabilities in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "sample/philox.h"
#include "sample/sampler.h"

namespace pagoda::testing {

struct Candidate {
  int32_t token;
  double logit;
  double probability;
};

// The logits after bias, bans and penalties.
inline std::vector<double> changed_logits(const std::vector<float>& logits, const SamplingParams& params,
                                          const SamplingState& state) {
  std::vector<double> changed(logits.begin(), logits.end());
  for (const auto& [token, bias] : params.logit_bias) changed[static_cast<size_t>(token)] += bias;
  for (const int32_t token : state.banned)
    changed[static_cast<size_t>(token)] = -std::numeric_limits<double>::infinity();
  std::map<int32_t, int> in_output;
  std::map<int32_t, int> seen;
  for (const int32_t token : state.prompt) ++seen[token];
  for (const int32_t token : state.output) ++seen[token], ++in_output[token];
  for (const auto& [token, count] : seen) {
    double& logit = changed[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
  }
  for (const auto& [token, count] : in_output)
    changed[static_cast<size_t>(token)] -= params.presence_penalty + params.frequency_penalty * count;
  return changed;
}

// The distribution that a token is drawn from: most likely first, ties by id, probabilities adding up to 1.
inline std::vector<Candidate> distribution(const std::vector<float>& logits, const SamplingParams& params,
                                           const SamplingState& state) {
  std::vector<Candidate> candidates;
  const std::vector<double> changed = changed_logits(logits, params, state);
  for (size_t token = 0; token < changed.size(); ++token)
    if (changed[token] != -std::numeric_limits<double>::infinity())
      candidates.push_back({static_cast<int32_t>(token), changed[token], 0});
  std::ranges::sort(candidates, [](const auto& a, const auto& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  });
  if (params.temperature == 0.0f) candidates.resize(1);
  if (params.top_k > 0) candidates.resize(std::min(candidates.size(), static_cast<size_t>(params.top_k)));
  const auto normalise = [&] {
    double total = 0;
    for (auto& c : candidates) {
      c.probability =
          params.temperature == 0.0f
              ? 1.0
              : std::exp((c.logit - candidates.front().logit) / static_cast<double>(params.temperature));
      total += c.probability;
    }
    for (auto& c : candidates) c.probability /= total;
  };
  normalise();
  if (params.top_p < 1.0f) {
    double sum = 0;
    size_t kept = 0;
    while (kept < candidates.size() && sum < params.top_p) sum += candidates[kept++].probability;
    candidates.resize(kept);
  }
  const double floor = params.min_p * candidates.front().probability;
  std::erase_if(candidates, [&](const Candidate& c) { return c.probability < floor; });
  normalise();
  return candidates;
}

}  // namespace pagoda::testing
