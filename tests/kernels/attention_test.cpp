// Attention over pages against a plain reference in double precision, and the identities that it promises.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <ranges>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/int8_pages.h"
#include "kernels/kernels.h"
#include "support/append_tokens.h"
#include "tensor/half.h"

namespace pagoda {
namespace {

constexpr std::array kTypes = {KvType::f32, KvType::bf16, KvType::int8};

struct Case {
  int head_dim = 64;
  int num_kv_heads = 2;
  int group = 3;
  KvType type = KvType::f32;
  int64_t context = 100;    // cached tokens
  int64_t num_queries = 1;  // the last of them
  int64_t window = 0;
  float softcap = 0.0f;
  float query_scale = 2.0f;
};

// A cache filled by append_kv through a page table, everything else in it NaN.
class Cache {
 public:
  enum class Pages { ordered, shuffled };

  Cache(const Case& c, Pages pages, const OpKernels& ops) : case_(c) {
    shape_ = {.num_layers = 1, .num_kv_heads = c.num_kv_heads, .head_dim = c.head_dim, .type = c.type};
    const auto num_pages = static_cast<size_t>((c.context + kPageTokens - 1) / kPageTokens);
    table_.resize(num_pages);
    std::iota(table_.begin(), table_.end(), 0);
    if (pages == Pages::shuffled) std::ranges::shuffle(table_, std::mt19937(7));
    bytes_.assign(shape_.pool_bytes(num_pages), std::byte{0xff});  // NaN in either type
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    const auto kv_floats = static_cast<size_t>(c.num_kv_heads * c.head_dim);
    k_.resize(static_cast<size_t>(c.context) * kv_floats);
    v_.resize(k_.size());
    for (float& value : k_) value = normal(generator);
    for (float& value : v_) value = normal(generator);
    q_.resize(static_cast<size_t>(c.num_queries * num_q_heads() * c.head_dim));
    for (float& value : q_) value = c.query_scale * normal(generator);
    append(0, k_, v_, ops);
    if (c.type == KvType::int8)
      for (int head = 0; head < c.num_kv_heads; ++head)
        int8_.emplace_back(of_head(k_, head), of_head(v_, head), c.head_dim);
  }

  // K and V of a token become `value` everywhere.
  void overwrite(int64_t token, float value, const OpKernels& ops) {
    const std::vector<float> row(static_cast<size_t>(case_.num_kv_heads * case_.head_dim), value);
    append(token, row, row, ops);
  }

  // Puts NaN into all that an int8 page holds for a token.
  void poison_int8(int64_t token) {
    const PageId page = table_[static_cast<size_t>(token / kPageTokens)];
    const auto slot = static_cast<size_t>(token % kPageTokens);
    for (int head = 0; head < case_.num_kv_heads; ++head) {
      auto* k_scales = reinterpret_cast<uint16_t*>(view().k_plane(page, head) + case_.head_dim * kPageTokens);
      auto* v_scales = reinterpret_cast<uint16_t*>(view().v_scale_plane(page, head));
      for (int group = 0; group < shape_.num_groups(); ++group) {
        k_scales[static_cast<size_t>(group) * kPageTokens + slot] = 0xffff;
        v_scales[static_cast<size_t>(group) * kPageTokens + slot] = 0xffff;
      }
    }
  }

  int num_q_heads() const { return case_.num_kv_heads * case_.group; }
  KvLayerView view() const { return {.shape = &shape_, .base = const_cast<std::byte*>(bytes_.data())}; }
  size_t out_floats() const { return q_.size(); }

  AttentionArgs args(int kv_head, float* out) const {
    return {.kv = view(),
            .page_table = table_.data(),
            .kv_head = kv_head,
            .num_q_heads = num_q_heads(),
            .q = q_.data(),
            .q_stride = int64_t{num_q_heads()} * case_.head_dim,
            .out = out,
            .out_stride = int64_t{num_q_heads()} * case_.head_dim,
            .first_position = case_.context - case_.num_queries,
            .num_tokens = case_.num_queries,
            .window = case_.window,
            .scale = 1.0f / std::sqrt(static_cast<float>(case_.head_dim)),
            .softcap = case_.softcap};
  }

  // The whole output, computed in runs of at most `run` query tokens.
  std::vector<float> attend(const OpKernels& ops, int64_t run, Prefetch prefetch = {}) const {
    std::vector<float> out(out_floats(), -1.0f);
    for (int head = 0; head < case_.num_kv_heads; ++head) {
      AttentionArgs a = args(head, out.data());
      a.prefetch = prefetch;
      for (int64_t begin = 0; begin < case_.num_queries; begin += run)
        ops.attention(a, begin, std::min(begin + run, case_.num_queries));
    }
    return out;
  }

  std::vector<float> attend_by_segments(const OpKernels& ops, Prefetch prefetch = {}) const {
    std::vector<float> out(out_floats(), -1.0f);
    for (int head = 0; head < case_.num_kv_heads; ++head)
      for (int64_t token = 0; token < case_.num_queries; ++token) {
        AttentionArgs a = args(head, out.data());
        a.prefetch = prefetch;
        const SegmentRange range = segments_of(a, token);
        std::vector<float> partials(static_cast<size_t>(range.count * partial_floats(a)));
        for (int64_t i = 0; i < range.count; ++i)
          ops.attention_segment(a, token, range.first + i, partials.data() + i * partial_floats(a));
        ops.attention_merge(a, token, range.count, partials.data());
      }
    return out;
  }

  std::vector<double> reference() const {
    std::vector<double> out(out_floats());
    for (int64_t token = 0; token < case_.num_queries; ++token)
      for (int head = 0; head < num_q_heads(); ++head) reference_row(token, head, out);
    return out;
  }

 private:
  void append(int64_t position, const std::vector<float>& k, const std::vector<float>& v,
              const OpKernels& ops) {
    testing::append_tokens(ops, view(), table_, position, k, v);
  }

  std::vector<float> of_head(const std::vector<float>& rows, int head) const {
    std::vector<float> values;
    const auto dims = static_cast<size_t>(case_.head_dim);
    for (size_t at = static_cast<size_t>(head) * dims; at < rows.size();
         at += static_cast<size_t>(case_.num_kv_heads) * dims)
      values.insert(values.end(), rows.begin() + static_cast<std::ptrdiff_t>(at),
                    rows.begin() + static_cast<std::ptrdiff_t>(at + dims));
    return values;
  }

  // Queries and weights as they are multiplied; int8 takes them so finely that it makes no difference here.
  double operand(float value) const {
    return case_.type == KvType::bf16 ? bf16_to_f32(f32_to_bf16(value)) : value;
  }
  double stored_k(int64_t token, int kv_head, int d) const {
    if (case_.type == KvType::int8) return int8_[static_cast<size_t>(kv_head)].k_value(token, d);
    return operand(k_[kv_index(token, kv_head, d)]);
  }
  double stored_v(int64_t token, int kv_head, int d) const {
    if (case_.type == KvType::int8) return int8_[static_cast<size_t>(kv_head)].v_value(token, d);
    return operand(v_[kv_index(token, kv_head, d)]);
  }
  size_t kv_index(int64_t token, int kv_head, int d) const {
    return static_cast<size_t>((token * case_.num_kv_heads + kv_head) * case_.head_dim + d);
  }

  void reference_row(int64_t token, int head, std::vector<double>& out) const {
    const int64_t position = case_.context - case_.num_queries + token;
    const int64_t begin = case_.window > 0 ? std::max<int64_t>(0, position - case_.window + 1) : 0;
    const auto row = static_cast<size_t>((token * num_q_heads() + head) * case_.head_dim);
    const int kv_head = head / case_.group;
    std::vector<double> weights;
    std::map<int64_t, double> greatest;  // of each segment
    for (int64_t j = begin; j <= position; ++j) {
      double score = 0;
      for (int d = 0; d < case_.head_dim; ++d)
        score += operand(q_[row + static_cast<size_t>(d)]) * stored_k(j, kv_head, d);
      score /= std::sqrt(static_cast<double>(case_.head_dim));
      if (case_.softcap > 0) score = case_.softcap * std::tanh(score / case_.softcap);
      weights.push_back(score);
      const auto found = greatest.try_emplace(j / kSegmentTokens, score).first;
      found->second = std::max(found->second, score);
    }
    const double greatest_of_all = std::ranges::max(greatest | std::views::values);
    double total = 0;
    for (int64_t j = begin; j <= position; ++j) {
      double& weight = weights[static_cast<size_t>(j - begin)];
      const double segment_max = greatest[j / kSegmentTokens];
      weight = operand(static_cast<float>(std::exp(weight - segment_max))) *
               std::exp(segment_max - greatest_of_all);
      total += weight;
    }
    for (int d = 0; d < case_.head_dim; ++d) {
      double sum = 0;
      for (size_t i = 0; i < weights.size(); ++i)
        sum += weights[i] * stored_v(begin + static_cast<int64_t>(i), kv_head, d);
      out[row + static_cast<size_t>(d)] = sum / total;
    }
  }

  Case case_;
  KvShape shape_;
  std::vector<PageId> table_;
  std::vector<std::byte> bytes_;
  std::vector<float> k_, v_, q_;
  std::vector<Int8Pages> int8_;  // of each KV head
};

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << i << ": " << a[i] << " and " << b[i];
}

// All promises for one case.
void check(const Case& c) {
  SCOPED_TRACE(::testing::Message() << "head_dim " << c.head_dim << " kv heads " << c.num_kv_heads
                                    << " group " << c.group << " " << to_string(c.type) << " context "
                                    << c.context << " queries " << c.num_queries << " window " << c.window
                                    << " softcap " << c.softcap);
  const OpKernels& scalar = kernels_for(Isa::scalar).ops;
  const Cache ordered(c, Cache::Pages::ordered, scalar);
  const auto want = ordered.reference();
  const auto definition = ordered.attend(scalar, c.num_queries);
  // A score that differs in its last bit may round a weight to the neighbouring bf16: few and small.
  // That of int8 comes from the steps of queries and weights.
  const double tolerance = c.type == KvType::f32 ? 2e-5 : c.type == KvType::bf16 ? 4e-3 : 8e-4;
  double total_error = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(definition[i], want[i], tolerance) << i;
    total_error += std::abs(definition[i] - want[i]);
  }
  EXPECT_LT(total_error / static_cast<double>(want.size()), c.type == KvType::int8 ? 4e-5 : 2e-5);
  for (const Isa isa : available_isas(detect_cpu())) {
    SCOPED_TRACE(to_string(isa));
    const OpKernels& ops = kernels_for(isa).ops;
    const Cache shuffled(c, Cache::Pages::shuffled, ops);
    expect_same_bits(definition, shuffled.attend(ops, c.num_queries));
    expect_same_bits(definition, shuffled.attend(ops, 1));
    expect_same_bits(definition, shuffled.attend(ops, 5));
    expect_same_bits(definition, shuffled.attend_by_segments(ops));
    for (const CacheLevel level : {CacheLevel::l1, CacheLevel::l2}) {
      const Prefetch ahead = {.level = level, .kv_bytes = 8192};
      expect_same_bits(definition, shuffled.attend(ops, 1, ahead));
      expect_same_bits(definition, shuffled.attend_by_segments(ops, ahead));
    }
  }
}

TEST(Attention, HeadDims) {
  for (const int head_dim : {16, 20, 24, 32, 64, 80, 96, 128, 256})
    for (const KvType type : kTypes)
      check({.head_dim = head_dim, .type = type, .context = 75, .num_queries = 20});
}

TEST(Attention, Groups) {
  for (const int group : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16})
    for (const KvType type : {KvType::bf16, KvType::int8})
      check({.head_dim = 32, .group = group, .type = type, .context = 50, .num_queries = 6});
}

TEST(Attention, Lengths) {
  for (const int64_t context : {1, 2, 15, 16, 17, 32, 511, 512, 513, 1100})
    for (const KvType type : kTypes) {
      check({.head_dim = 32, .num_kv_heads = 1, .type = type, .context = context});
      check({.head_dim = 16,
             .num_kv_heads = 1,
             .group = 2,
             .type = type,
             .context = context,
             .num_queries = std::min<int64_t>(context, 40)});
    }
}

TEST(Attention, Windows) {
  for (const int64_t window : {1, 2, 16, 31, 100, 512, 600, 5000})
    for (const KvType type : {KvType::bf16, KvType::int8})
      check({.head_dim = 32,
             .num_kv_heads = 1,
             .type = type,
             .context = 1060,
             .num_queries = 37,
             .window = window});
}

TEST(Attention, Softcap) {
  for (const KvType type : kTypes)
    check({.head_dim = 32, .type = type, .context = 90, .num_queries = 10, .softcap = 5.0f});
}

// Weights from 1 down to those that count as 0.
TEST(Attention, ScoresFarBelowTheGreatest) {
  for (const KvType type : kTypes) {
    const Case c{.head_dim = 32, .type = type, .context = 600, .num_queries = 10, .query_scale = 60.0f};
    const Cache cache(c, Cache::Pages::ordered, kernels_for(Isa::scalar).ops);
    const auto definition = cache.attend(kernels_for(Isa::scalar).ops, c.num_queries);
    EXPECT_TRUE(std::ranges::all_of(definition, [](float value) { return std::isfinite(value); }));
    for (const Isa isa : available_isas(detect_cpu())) {
      SCOPED_TRACE(to_string(isa));
      expect_same_bits(definition, cache.attend(kernels_for(isa).ops, c.num_queries));
    }
  }
}

// Queries before the last two tokens must not see that these are NaN and infinite, at the edge of a page or
// within.
void check_later_tokens(KvType type, int64_t context, int group, Isa isa) {
  SCOPED_TRACE(::testing::Message() << to_string(isa) << " " << to_string(type) << " context " << context
                                    << " group " << group);
  const OpKernels& ops = kernels_for(isa).ops;
  const Case c{.group = group, .type = type, .context = context, .num_queries = 18};
  const Cache clean(c, Cache::Pages::ordered, ops);
  Cache poisoned(c, Cache::Pages::ordered, ops);
  poisoned.overwrite(context - 2, std::numeric_limits<float>::infinity(), ops);
  poisoned.overwrite(context - 1, std::numeric_limits<float>::quiet_NaN(), ops);
  auto want = clean.attend(ops, c.num_queries);
  auto got = poisoned.attend(ops, c.num_queries);
  const size_t token_floats = want.size() / static_cast<size_t>(c.num_queries);
  EXPECT_TRUE(std::isnan(got.back()));
  want.resize(want.size() - 2 * token_floats);
  got.resize(want.size());
  expect_same_bits(want, got);
}

TEST(Attention, LaterTokensNeverTouchEarlierOnes) {
  for (const int64_t context : {20, 32, 33, 34, 40})
    for (const int group : {1, 3, 4})
      for (const KvType type : {KvType::bf16, KvType::int8})
        for (const Isa isa : available_isas(detect_cpu())) check_later_tokens(type, context, group, isa);
}

// The same for what lies before the window.
TEST(Attention, TokensBeforeTheWindowNeverTouchLaterOnes) {
  for (const int64_t window : {3, 16, 17, 20})
    for (const KvType type : {KvType::bf16, KvType::int8})
      for (const Isa isa : available_isas(detect_cpu())) {
        const OpKernels& ops = kernels_for(isa).ops;
        const Case c{.type = type, .context = 48, .num_queries = 9, .window = window};
        const Cache clean(c, Cache::Pages::ordered, ops);
        Cache poisoned(c, Cache::Pages::ordered, ops);
        for (int64_t token = 0; token <= c.context - c.num_queries - window; ++token) {
          if (type == KvType::int8)
            poisoned.poison_int8(token);
          else
            poisoned.overwrite(token, std::numeric_limits<float>::quiet_NaN(), ops);
        }
        const auto want = clean.attend(ops, c.num_queries);
        EXPECT_TRUE(std::ranges::none_of(want, [](float value) { return std::isnan(value); }));
        expect_same_bits(want, poisoned.attend(ops, c.num_queries));
      }
}

TEST(Attention, NanInAQueryStaysInItsRow) {
  for (const KvType type : kTypes)
    for (const Isa isa : available_isas(detect_cpu())) {
      const Case c{
          .head_dim = 16, .num_kv_heads = 1, .group = 2, .type = type, .context = 40, .num_queries = 1};
      const OpKernels& ops = kernels_for(isa).ops;
      const Cache cache(c, Cache::Pages::ordered, ops);
      std::vector<float> out(cache.out_floats());
      AttentionArgs args = cache.args(0, out.data());
      std::vector<float> q(args.q, args.q + cache.out_floats());
      q[3] = std::numeric_limits<float>::quiet_NaN();
      args.q = q.data();
      ops.attention(args, 0, 1);
      EXPECT_TRUE(std::isnan(out[0]));
      EXPECT_FALSE(std::isnan(out[16]));
    }
}

}  // namespace
}  // namespace pagoda
