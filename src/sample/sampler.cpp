#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "sample/philox.h"

namespace pagoda {

namespace {

constexpr uint32_t kDrawStream = 0;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Values weighed together: a draw from the whole vocabulary looks into one block only.
constexpr size_t kBlock = 1024;
// Most distributions have their mass in so few tokens that sorting them is the fastest way.
constexpr size_t kFewCandidates = 256;

bool ends_with(std::span<const int32_t> tokens, std::span<const int32_t> tail) {
  return tail.size() <= tokens.size() && std::ranges::equal(tokens.last(tail.size()), tail);
}

bool bans_tokens(const SamplingParams& params, const SamplingState& state) {
  return !state.mask.empty() || !state.banned.empty() || !params.bad_words.empty() ||
         !params.allowed_tokens.empty();
}

double weight(float value, float max) {
  return std::exp(static_cast<double>(value) - static_cast<double>(max));
}

// The first of `candidates` at which the running sum of weights exceeds random * total of these weights.
int32_t draw(std::span<const TokenLogprob> candidates, float max, double random) {
  double total = 0.0;
  for (const TokenLogprob& candidate : candidates) total += weight(candidate.logprob, max);
  double rest = random * total;
  for (const TokenLogprob& candidate : candidates) {
    rest -= weight(candidate.logprob, max);
    if (rest < 0.0) return candidate.token;
  }
  return candidates.back().token;
}

// The shortest prefix that holds at least `mass`, or nothing if all of them hold less.
std::span<const TokenLogprob> prefix_with_mass(std::span<const TokenLogprob> candidates, float max,
                                               double mass) {
  double sum = 0.0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    sum += weight(candidates[i].logprob, max);
    if (sum >= mass) return candidates.first(i + 1);
  }
  return {};
}

}  // namespace

Sampler::Sampler(const Kernels& kernels, int64_t vocab_size)
    : kernels_(&kernels),
      selector_(std::make_unique<TopSelector>(kernels, vocab_size)),
      ranked_draw_(kernels, *selector_),
      scaled_(static_cast<size_t>(vocab_size)),
      masked_(static_cast<size_t>(vocab_size)),
      block_weights_((static_cast<size_t>(vocab_size) + kBlock - 1) / kBlock),
      best_(kMaxLogprobs),
      counts_(static_cast<size_t>(vocab_size), 0) {
  changed_.reserve(2 * static_cast<size_t>(vocab_size) + kMaxLogitBiases + kMaxBadWords);
}

size_t Sampler::scratch_bytes(int64_t vocab_size) {
  const size_t per_token = 3 * sizeof(TokenLogprob) + 2 * sizeof(float) + sizeof(int32_t);
  return static_cast<size_t>(vocab_size) * per_token + kMaxLogitBiases * sizeof(TokenLogprob) +
         RankedDraw::kNumBuckets * sizeof(double);
}

SampledToken Sampler::sample(std::span<float> row, const SamplingParams& params, const SamplingState& state) {
  PAGODA_CHECK(row.size() == scaled_.size(), "{} logits for a vocabulary of {}", row.size(), scaled_.size());
  const auto n = static_cast<int64_t>(row.size());
  if (!kernels_->ops.all_valid(row.data(), n)) return {.token = -1};
  SampledToken sampled;
  float log_total = 0.0f;
  if (params.num_logprobs >= 0) {
    log_total = kernels_->ops.log_sum_exp(row.data(), n);
    if (params.logprob_tokens.empty())
      sampled.top_logprobs = best_logprobs(row, log_total, params.num_logprobs);
  }
  const std::span<float> logits = state.mask.empty() ? row : masked(row, state.mask);
  bias(logits, params);
  ban(logits, params, state);
  if (has_penalty(params)) penalise(logits, params, state);
  sampled.token = static_cast<int32_t>(kernels_->ops.argmax(logits.data(), n));
  const float max = logits[static_cast<size_t>(sampled.token)];
  if (max != -kInfinity && !is_greedy(params)) {
    std::span<const float> scaled = logits;
    if (params.temperature != 1.0f) {
      kernels_->ops.divide(logits.data(), params.temperature, n, scaled_.data());
      scaled = scaled_;
    }
    const double random = uniform(state.seed, static_cast<uint64_t>(state.position), kDrawStream);
    const bool all = params.top_k <= 0 && params.top_p >= 1.0f && params.min_p <= 0.0f;
    sampled.token = all ? draw_from_all(scaled, random) : draw_from_best(scaled, params, random);
  }
  restore(logits);
  if (max == -kInfinity) return {.token = bans_tokens(params, state) ? kNoTokenAllowed : -1};
  if (params.num_logprobs < 0) return sampled;
  sampled.logprob = row[static_cast<size_t>(sampled.token)] - log_total;
  if (!params.logprob_tokens.empty())
    sampled.top_logprobs = named_logprobs(row, log_total, params.logprob_tokens, sampled.token);
  return sampled;
}

SampledToken Sampler::score(std::span<const float> logits, int32_t token, int32_t num_logprobs) {
  const auto n = static_cast<int64_t>(logits.size());
  if (!kernels_->ops.all_valid(logits.data(), n)) return {.token = -1};
  const float log_total = kernels_->ops.log_sum_exp(logits.data(), n);
  const float logit = logits[static_cast<size_t>(token)];
  const auto num_better = std::ranges::count_if(logits, [logit](float other) { return other > logit; });
  return {.token = token,
          .logprob = logit - log_total,
          .top_logprobs = best_logprobs(logits, log_total, num_logprobs),
          .rank = static_cast<int32_t>(num_better) + 1};
}

std::span<float> Sampler::masked(std::span<const float> logits, std::span<const uint32_t> mask) {
  PAGODA_CHECK(mask.size() * 32 >= logits.size(), "{} mask words for {} logits", mask.size(), logits.size());
  kernels_->ops.apply_mask(logits.data(), mask.data(), static_cast<int64_t>(logits.size()), masked_.data());
  return masked_;
}

void Sampler::change(std::span<float> logits, int32_t token, float value) {
  float& logit = logits[static_cast<size_t>(token)];
  changed_.push_back({token, logit});
  logit = value;
}

void Sampler::restore(std::span<float> logits) {
  for (auto original = changed_.rbegin(); original != changed_.rend(); ++original)
    logits[static_cast<size_t>(original->token)] = original->logprob;
  changed_.clear();
}

void Sampler::bias(std::span<float> logits, const SamplingParams& params) {
  for (const auto& [token, bias] : params.logit_bias)
    change(logits, token, logits[static_cast<size_t>(token)] + bias);
}

void Sampler::ban(std::span<float> logits, const SamplingParams& params, const SamplingState& state) {
  for (const int32_t token : state.banned) change(logits, token, -kInfinity);
  for (const std::vector<int32_t>& word : params.bad_words)
    if (ends_with(state.output, std::span(word).first(word.size() - 1)))
      change(logits, word.back(), -kInfinity);
  if (params.allowed_tokens.empty()) return;
  auto allowed = params.allowed_tokens.begin();
  for (int32_t token = 0; token < static_cast<int32_t>(logits.size()); ++token) {
    while (allowed != params.allowed_tokens.end() && *allowed < token) ++allowed;
    if (allowed == params.allowed_tokens.end() || *allowed != token) change(logits, token, -kInfinity);
  }
}

void Sampler::penalise(std::span<float> logits, const SamplingParams& params, const SamplingState& state) {
  // Pass 1 counts the output and visits each of its tokens once; pass 2 visits what only the prompt has,
  // marking it.
  for (const int32_t token : state.output) ++counts_[static_cast<size_t>(token)];
  const auto repeat = [&](float logit) {
    return logit > 0.0f ? logit / params.repetition_penalty : logit * params.repetition_penalty;
  };
  for (const int32_t token : state.output) {
    int32_t& count = counts_[static_cast<size_t>(token)];
    if (count <= 0) continue;
    const float logit = repeat(logits[static_cast<size_t>(token)]);
    change(logits, token,
           logit - params.presence_penalty - params.frequency_penalty * static_cast<float>(count));
    count = -1;
  }
  if (params.repetition_penalty != 1.0f) {
    for (const int32_t token : state.prompt) {
      int32_t& count = counts_[static_cast<size_t>(token)];
      if (count < 0) continue;
      change(logits, token, repeat(logits[static_cast<size_t>(token)]));
      count = -1;
    }
    for (const int32_t token : state.prompt) counts_[static_cast<size_t>(token)] = 0;
  }
  for (const int32_t token : state.output) counts_[static_cast<size_t>(token)] = 0;
}

double Sampler::weigh_blocks(std::span<const float> scaled, float max) {
  double total = 0.0;
  for (size_t block = 0; block < block_weights_.size(); ++block) {
    const size_t begin = block * kBlock;
    const size_t size = std::min(kBlock, scaled.size() - begin);
    const float log_weight = kernels_->ops.log_sum_exp(scaled.data() + begin, static_cast<int64_t>(size));
    block_weights_[block] = weight(log_weight, max);
    total += block_weights_[block];
  }
  return total;
}

int32_t Sampler::draw_from_all(std::span<const float> scaled, double random) {
  const float max = kernels_->ops.max(scaled.data(), static_cast<int64_t>(scaled.size()));
  double rest = random * weigh_blocks(scaled, max);
  size_t block = 0;
  while (block + 1 < block_weights_.size() && rest >= block_weights_[block]) rest -= block_weights_[block++];
  // The last token with any weight stands in where rounding leaves a rest.
  int32_t last = -1;
  for (size_t token = block * kBlock; token < scaled.size(); ++token) {
    if (scaled[token] == -kInfinity) continue;
    last = static_cast<int32_t>(token);
    rest -= weight(scaled[token], max);
    if (rest < 0.0) return last;
  }
  const auto n = static_cast<int64_t>(scaled.size());
  return last >= 0 ? last : static_cast<int32_t>(kernels_->ops.argmax(scaled.data(), n));
}

int32_t Sampler::draw_from_best(std::span<const float> scaled, const SamplingParams& params, double random) {
  const float max = kernels_->ops.max(scaled.data(), static_cast<int64_t>(scaled.size()));
  const float min_p_floor = params.min_p > 0.0f ? max + std::log(params.min_p) : -kInfinity;
  const auto above_floor = [&](std::span<const TokenLogprob> candidates) {
    const auto end = std::ranges::find_if(candidates, [&](const auto& c) { return c.logprob < min_p_floor; });
    return std::span(candidates.begin(), end);
  };
  if (params.top_k > 0) {
    auto candidates = selector_->select(scaled, static_cast<size_t>(params.top_k), -kInfinity);
    if (params.top_p < 1.0f) {
      double total = 0.0;
      for (const TokenLogprob& candidate : candidates) total += weight(candidate.logprob, max);
      const auto prefix = prefix_with_mass(candidates, max, params.top_p * total);
      if (!prefix.empty()) candidates = prefix;
    }
    return draw(above_floor(candidates), max, random);
  }
  RankedPrefix prefix{.max = max, .floor = min_p_floor};
  if (params.top_p < 1.0f) prefix.mass = params.top_p * weigh_blocks(scaled, max);
  const auto candidates = selector_->select(scaled, kFewCandidates, min_p_floor);
  const auto few = prefix_with_mass(candidates, max, prefix.mass);
  if (!few.empty()) return draw(few, max, random);
  if (candidates.size() < kFewCandidates) return draw(candidates, max, random);
  return ranked_draw_.draw(scaled, prefix, random);
}

std::span<const TokenLogprob> Sampler::best_logprobs(std::span<const float> logits, float log_total,
                                                     int32_t num_logprobs) {
  const auto selected = selector_->select(logits, static_cast<size_t>(std::max(num_logprobs, 0)), -kInfinity);
  std::ranges::transform(selected, best_.begin(), [&](TokenLogprob candidate) {
    return TokenLogprob{candidate.token, candidate.logprob - log_total};
  });
  return std::span(best_).first(selected.size());
}

std::span<const TokenLogprob> Sampler::named_logprobs(std::span<const float> logits, float log_total,
                                                      std::span<const int32_t> asked, int32_t chosen) {
  size_t count = 0;
  const auto add = [&](int32_t token) {
    best_[count++] = {token, logits[static_cast<size_t>(token)] - log_total};
  };
  for (const int32_t token : asked) add(token);
  if (std::ranges::find(asked, chosen) == asked.end()) add(chosen);
  const std::span named = std::span(best_).first(count);
  std::ranges::sort(named, [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  });
  return named;
}

}  // namespace pagoda
