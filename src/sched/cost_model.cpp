#include "sched/cost_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace pagoda {

namespace {

constexpr double kForgetting = 0.995;  // per step: the last 200 count
constexpr double kSeedWeight = 0.25;   // of a measurement for the prior, next to a step that ran
constexpr double kGuessWeight = 0.01;  // of a coefficient that was only given
constexpr double kHuberSigmas = 3;
constexpr double kLeastSigma = 0.01;  // relative: a perfect past does not make the next step an outlier
constexpr double kGreatestMargin = 1.0;
constexpr double kPaceShare = 0.5;      // of the way to what a step took, in logarithms
constexpr double kPaceFarthest = 0.15;  // that one step moves it
constexpr double kMostPace = 4;
constexpr double kMarginShare = 0.99;  // of the steps that a bound is to hold for
constexpr uint64_t kErrorsForMargin = 16;
constexpr int64_t kRowBlock = 8;  // rows that the kernels take together

constexpr size_t index_of(CostTerm term) {
  return static_cast<size_t>(term);
}

double dot(const CostVector& a, const CostVector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// 1 + 2 + … for positions [first, first + count): each token sees itself and all before.
double triangle(int64_t first, int64_t count) {
  return static_cast<double>(count) * (static_cast<double>(first) + (static_cast<double>(count) + 1) / 2);
}

}  // namespace

std::string_view to_string(CostTerm term) {
  constexpr std::array<std::string_view, kNumCostTerms> kNames = {
      "pass",        "batch",        "few_tokens",      "more_tokens", "logits",
      "logits_rows", "kv_positions", "attention_pairs", "sequences"};
  return kNames[index_of(term)];
}

AttentionReach::AttentionReach(std::span<const int64_t> layer_windows) {
  for (const int64_t window : layer_windows) {
    auto known = std::ranges::find(windows_, window, &Window::positions);
    if (known == windows_.end()) known = windows_.insert(windows_.end(), {window, 0});
    known->share += 1.0 / static_cast<double>(layer_windows.size());
  }
  if (windows_.empty()) windows_.push_back({0, 1.0});
}

double AttentionReach::positions(int64_t position) const {
  return pairs(position, 1);
}

double AttentionReach::pairs(int64_t first, int64_t count) const {
  double total = 0;
  for (const Window& window : windows_) {
    // Tokens before the window is full see all, the rest see a window each.
    const int64_t growing =
        window.positions == 0 ? count : std::clamp<int64_t>(window.positions - first, 0, count);
    total += window.share * (triangle(first, growing) +
                             static_cast<double>(count - growing) * static_cast<double>(window.positions));
  }
  return total;
}

void StepWork::add(const WorkItem& item, const AttentionReach& reach) {
  ++num_sequences;
  num_tokens += item.num_tokens;
  num_logits_rows += item.num_logits_rows;
  // A chunk's tokens share one reading of what they see.
  kv_positions += reach.positions(item.first_position + item.num_tokens - 1);
  if (item.num_tokens > 1) attention_pairs += reach.pairs(item.first_position, item.num_tokens);
}

CostVector StepWork::terms() const {
  CostVector terms{};
  if (num_tokens == 0) return terms;
  const auto set = [&](CostTerm term, double value) { terms[index_of(term)] = value; };
  set(CostTerm::pass, 1);
  set(CostTerm::batch, num_tokens > 1 ? 1 : 0);
  set(CostTerm::few_tokens, static_cast<double>(std::min(num_tokens, kFewTokens) - 1));
  set(CostTerm::more_tokens, static_cast<double>(std::max<int64_t>(num_tokens - kFewTokens, 0)));
  set(CostTerm::logits, num_logits_rows > 0 ? 1 : 0);
  set(CostTerm::logits_rows, static_cast<double>(num_logits_rows));
  set(CostTerm::kv_positions, kv_positions);
  set(CostTerm::attention_pairs, attention_pairs);
  set(CostTerm::sequences, static_cast<double>(num_sequences));
  return terms;
}

void CostModel::Equations::scale(double factor) {
  for (CostVector& row : matrix)
    for (double& value : row) value *= factor;
  for (double& value : right) value *= factor;
}

void CostModel::Equations::add(const CostVector& terms, double seconds, double weight) {
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    const double scaled = weight * terms[i] / seconds;
    right[i] += scaled;
    for (size_t j = 0; j < kNumCostTerms; ++j) matrix[i][j] += scaled * terms[j] / seconds;
  }
}

namespace {

// Solves matrix · x = right for the terms that are `free`, by Cholesky's decomposition; the others are 0. The
// matrix has ones on its diagonal.
CostVector solve_free(std::array<CostVector, kNumCostTerms> matrix, CostVector right,
                      const std::array<bool, kNumCostTerms>& free) {
  constexpr double kRidge = 1e-9;  // terms that always come together share what they cost
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    matrix[i][i] += kRidge;
    if (free[i]) continue;
    for (size_t j = 0; j < kNumCostTerms; ++j) matrix[i][j] = matrix[j][i] = 0;
    matrix[i][i] = 1;
    right[i] = 0;
  }
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = matrix[i][j];
      for (size_t k = 0; k < j; ++k) sum -= matrix[i][k] * matrix[j][k];
      matrix[i][j] = i == j ? std::sqrt(std::max(sum, kRidge * kRidge)) : sum / matrix[j][j];
    }
    for (size_t k = 0; k < i; ++k) right[i] -= matrix[i][k] * right[k];
    right[i] /= matrix[i][i];
  }
  for (size_t i = kNumCostTerms; i-- > 0;) {
    for (size_t k = i + 1; k < kNumCostTerms; ++k) right[i] -= matrix[k][i] * right[k];
    right[i] /= matrix[i][i];
  }
  return right;
}

}  // namespace

CostVector CostModel::solve(const Equations& equations) {
  // In units in which the diagonal is 1: coefficients differ by many orders of magnitude.
  CostVector unit{};
  std::array<bool, kNumCostTerms> free{};
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    free[i] = equations.matrix[i][i] > 0;
    unit[i] = free[i] ? 1 / std::sqrt(equations.matrix[i][i]) : 0;
  }
  Equations scaled = equations;
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    scaled.right[i] *= unit[i];
    for (size_t j = 0; j < kNumCostTerms; ++j) scaled.matrix[i][j] *= unit[i] * unit[j];
  }
  for (;;) {
    CostVector solution = solve_free(scaled.matrix, scaled.right, free);
    const auto least = std::ranges::min_element(solution);
    if (*least >= 0) {
      for (size_t i = 0; i < kNumCostTerms; ++i) solution[i] *= unit[i];
      return solution;
    }
    free[static_cast<size_t>(least - solution.begin())] = false;
  }
}

CostModel::CostModel(AttentionReach reach, const CostVector& seed)
    : reach_(std::move(reach)), guess_(seed), coefficients_(seed) {
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    PAGODA_CHECK(seed[i] >= 0, "coefficient {} is {}", i, seed[i]);
    CostVector term{};
    term[i] = 1;
    if (seed[i] > 0) prior_.add(term, seed[i], kGuessWeight);
  }
}

void CostModel::add_seed(const StepWork& work, double seconds) {
  if (seconds <= 0) return;
  prior_.add(work.terms(), seconds, kSeedWeight);
  seeds_.push_back({work, seconds});
}

void CostModel::fit() {
  Equations all = prior_;
  for (size_t i = 0; i < kNumCostTerms; ++i) {
    all.right[i] += recent_.right[i];
    for (size_t j = 0; j < kNumCostTerms; ++j) all.matrix[i][j] += recent_.matrix[i][j];
  }
  coefficients_ = solve(all);
}

void CostModel::observe(const StepWork& work, double seconds) {
  if (seconds <= 0 || work.num_tokens == 0) return;
  const double predicted = predict(work);
  double weight = 1;
  if (predicted > 0) {
    const double error = seconds / (predicted * pace_) - 1;
    if (errors_.num_added() >= kErrorsForMargin) {
      // The median of the absolute error of a normal distribution is 0.6745 sigma.
      const double sigma = std::max(median_error_ / 0.6745, kLeastSigma);
      weight = std::min(1.0, kHuberSigmas * sigma / std::max(std::abs(error), 1e-12));
    }
    record_error(error, work.attention_pairs > 0);
    follow_pace(seconds / predicted);
  }
  recent_.scale(kForgetting);
  recent_.add(work.terms(), seconds, weight);
  fit();
}

void CostModel::follow_pace(double factor) {
  const double way = kPaceShare * std::log(factor / pace_);
  const double next = pace_ * std::exp(std::clamp(way, -kPaceFarthest, kPaceFarthest));
  pace_ = std::clamp(next, 1 / kMostPace, kMostPace);
}

void CostModel::record_error(double relative_error, bool has_chunk) {
  const auto error = static_cast<float>(relative_error);
  errors_.add(error);
  if (has_chunk) chunk_errors_.add(error);
  if (errors_.num_added() >= kErrorsForMargin)
    median_error_ = errors_.quantile(0.5, [](float value) { return std::abs(value); });
  if (has_chunk && chunk_errors_.num_added() >= kErrorsForMargin)
    margin_ = std::clamp<double>(chunk_errors_.quantile(kMarginShare), 0.0, kGreatestMargin);
}

double CostModel::predict(const StepWork& work) const {
  return dot(work.terms(), coefficients_);
}

double CostModel::share(const StepWork& step, const WorkItem& item) const {
  const CostVector terms = step.terms();
  const auto cost = [&](CostTerm term) { return terms[index_of(term)] * coefficients_[index_of(term)]; };
  const double all = cost(CostTerm::pass) + cost(CostTerm::sequences);
  const double tokens = cost(CostTerm::batch) + cost(CostTerm::few_tokens) + cost(CostTerm::more_tokens);
  const double rows = cost(CostTerm::logits) + cost(CostTerm::logits_rows);
  StepWork own;
  own.add(item, reach_);
  return all / static_cast<double>(std::max<int64_t>(step.num_sequences, 1)) +
         tokens * static_cast<double>(item.num_tokens) /
             static_cast<double>(std::max<int64_t>(step.num_tokens, 1)) +
         rows * static_cast<double>(item.num_logits_rows) /
             static_cast<double>(std::max<int64_t>(step.num_logits_rows, 1)) +
         own.kv_positions * coefficients_[index_of(CostTerm::kv_positions)] +
         own.attention_pairs * coefficients_[index_of(CostTerm::attention_pairs)];
}

double CostModel::predict_alone(const WorkItem& item) const {
  StepWork work;
  work.add(item, reach_);
  return predict(work);
}

int64_t CostModel::largest_chunk(const StepWork& step, const ChunkRange& range, double seconds) const {
  PAGODA_CHECK(range.most_tokens > 0, "{} tokens", range.most_tokens);
  const auto fits = [&](int64_t num_tokens) {
    StepWork with = step;
    const bool samples = range.ends_prompt && num_tokens == range.most_tokens;
    with.add({.first_position = range.first_position,
              .num_tokens = num_tokens,
              .num_logits_rows = range.logits_everywhere ? num_tokens
                                 : samples               ? 1
                                                         : 0},
             reach_);
    return predict(with) <= seconds;
  };
  if (fits(range.most_tokens)) return range.most_tokens;
  int64_t fitting = 0;
  int64_t too_many = range.most_tokens;
  while (too_many - fitting > 1) {
    const int64_t middle = fitting + (too_many - fitting) / 2;
    (fits(middle) ? fitting : too_many) = middle;
  }
  const int64_t beyond_block = (step.num_tokens + fitting) % kRowBlock;
  return fitting > kRowBlock ? fitting - beyond_block : fitting;
}

}  // namespace pagoda
