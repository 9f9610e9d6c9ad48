// Figures of merit over many predictions of a next token.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace pagoda {

// Mean and spread of the negative log-likelihoods of scored tokens.
class LikelihoodScore {
 public:
  explicit LikelihoodScore(const OpKernels& ops) : ops_(&ops) {}

  // The token that came next, and the logits that predict it.
  void add(std::span<const float> logits, int32_t next) {
    const float total = ops_->log_sum_exp(logits.data(), static_cast<int64_t>(logits.size()));
    const double nll = static_cast<double>(total) - static_cast<double>(logits[static_cast<size_t>(next)]);
    sum_ += nll;
    sum_of_squares_ += nll * nll;
    ++count_;
  }
  int64_t count() const { return count_; }
  double perplexity() const { return std::exp(sum_ / static_cast<double>(count_)); }
  // One standard error, by the delta method.
  double perplexity_error() const {
    const auto n = static_cast<double>(count_);
    const double variance = std::max(0.0, sum_of_squares_ / n - (sum_ / n) * (sum_ / n));
    return count_ > 1 ? std::sqrt(variance / (n - 1)) * perplexity() : 0.0;
  }

 private:
  const OpKernels* ops_;
  double sum_ = 0;
  double sum_of_squares_ = 0;
  int64_t count_ = 0;
};

// How far predicted distributions are from those of a reference.
class Divergence {
 public:
  explicit Divergence(const OpKernels& ops) : ops_(&ops) {}

  // Adds the Kullback-Leibler divergence sum of p_ref (log p_ref - log p), in nats, and how much less likely
  // the token is that came next.
  void add(std::span<const float> reference, std::span<const float> logits, int32_t next) {
    const auto size = static_cast<int64_t>(logits.size());
    const float reference_total = ops_->log_sum_exp(reference.data(), size);
    const float total = ops_->log_sum_exp(logits.data(), size);
    probabilities_.resize(logits.size());
    ops_->exponentiate(reference.data(), reference_total, size, probabilities_.data());
    double difference = 0;
    double mass = 0;  // 1 but for rounding, which would weigh as much as a small divergence
    for (size_t i = 0; i < logits.size(); ++i) {
      const double p = probabilities_[i];
      mass += p;
      difference += p * (static_cast<double>(reference[i]) - static_cast<double>(logits[i]));
    }
    const double totals = static_cast<double>(reference_total) - static_cast<double>(total);
    sum_ += difference / mass - totals;
    const auto token = static_cast<size_t>(next);
    const double loss = static_cast<double>(reference[token]) - static_cast<double>(logits[token]) - totals;
    loss_sum_ += loss;
    loss_sum_of_squares_ += loss * loss;
    if (ops_->argmax(reference.data(), size) == ops_->argmax(logits.data(), size)) ++num_same_best_;
    ++count_;
  }
  double mean() const { return sum_ / static_cast<double>(count_); }
  // Of the perplexity, as a share of the reference's; and one standard error. Far smaller than that of the
  // perplexities: both models read the same text.
  double perplexity_change() const { return std::expm1(mean_loss()); }
  double perplexity_change_error() const {
    const auto n = static_cast<double>(count_);
    const double variance = std::max(0.0, loss_sum_of_squares_ / n - mean_loss() * mean_loss());
    return count_ > 1 ? std::sqrt(variance / (n - 1)) * std::exp(mean_loss()) : 0.0;
  }
  // Share of the predictions whose most likely token is the reference's.
  double same_best_share() const { return static_cast<double>(num_same_best_) / static_cast<double>(count_); }

 private:
  double mean_loss() const { return loss_sum_ / static_cast<double>(count_); }

  const OpKernels* ops_;
  std::vector<float> probabilities_;
  double sum_ = 0;
  double loss_sum_ = 0;
  double loss_sum_of_squares_ = 0;
  int64_t num_same_best_ = 0;
  int64_t count_ = 0;
};

}  // namespace pagoda
