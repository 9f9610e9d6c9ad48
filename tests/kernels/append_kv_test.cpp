// What pages hold after K and V were appended: as kernels/kv_page.h says, on every ISA, however the tokens
// came.
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/int8_pages.h"
#include "kernels/kernels.h"
#include "support/append_tokens.h"
#include "tensor/half.h"

namespace pagoda {
namespace {

constexpr int kHeads = 2;

std::vector<float> random_values(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

// Pages of one layer, in an order of their own.
class Pages {
 public:
  Pages(KvType type, int head_dim, int64_t num_tokens)
      : shape_{.num_layers = 1, .num_kv_heads = kHeads, .head_dim = head_dim, .type = type},
        table_(static_cast<size_t>((num_tokens + kPageTokens - 1) / kPageTokens)),
        bytes_(shape_.pool_bytes(table_.size())) {
    std::iota(table_.rbegin(), table_.rend(), 0);
  }

  // k and v: [tokens][kHeads][head_dim]
  void append(const OpKernels& ops, int64_t position, std::span<const float> k, std::span<const float> v) {
    testing::append_tokens(ops, view(), table_, position, k, v);
  }
  void append_in_cuts(const OpKernels& ops, std::span<const float> k, std::span<const float> v, size_t cut) {
    const size_t stride = static_cast<size_t>(kHeads * shape_.head_dim);
    for (size_t at = 0; at < k.size(); at += cut * stride) {
      const size_t count = std::min(cut * stride, k.size() - at);
      append(ops, static_cast<int64_t>(at / stride), k.subspan(at, count), v.subspan(at, count));
    }
  }

  KvLayerView view() { return {.shape = &shape_, .base = bytes_.data()}; }
  PageId page(int64_t position) const { return table_[static_cast<size_t>(position / kPageTokens)]; }
  const std::vector<std::byte>& bytes() const { return bytes_; }

  template <class Element>
  Element k(int64_t position, int head, int d) {
    const int64_t slot = position % kPageTokens;
    return at<Element>(view().k_plane(page(position), head), (d / 2 * kPageTokens + slot) * 2 + d % 2);
  }
  template <class Element>
  Element v(int64_t position, int head, int d) {
    const int64_t slot = position % kPageTokens;
    return at<Element>(view().v_plane(page(position), head),
                       (d / 16 * kPageTokens + slot / 2 * 2) * 16 + d % 16 * 2 + slot % 2);
  }
  float k_scale(int64_t position, int head, int d) {
    const std::byte* scales = view().k_plane(page(position), head) + shape_.head_dim * kPageTokens;
    return bf16_to_f32(at<uint16_t>(scales, d / kKvGroupDims * kPageTokens + position % kPageTokens));
  }
  float v_scale(int64_t position, int head, int d) {
    return bf16_to_f32(at<uint16_t>(view().v_scale_plane(page(position), head),
                                    d / kKvGroupDims * kPageTokens + position % kPageTokens));
  }
  float k_offset(int64_t position, int head, int d) {
    return bf16_to_f32(at<uint16_t>(view().k_offset_plane(page(position), head), d));
  }

 private:
  template <class Element>
  static Element at(const std::byte* plane, int64_t index) {
    return reinterpret_cast<const Element*>(plane)[index];
  }

  KvShape shape_;
  std::vector<PageId> table_;
  std::vector<std::byte> bytes_;
};

TEST(AppendKv, RoundsFloatsToTheElement) {
  for (const int head_dim : {16, 20, 64}) {
    const auto count = static_cast<size_t>(kHeads * head_dim);
    auto k = random_values(count, 14);
    auto v = random_values(count, 15);
    k[0] = 1e-40f;  // subnormal
    k[1] = std::numeric_limits<float>::quiet_NaN();
    v[0] = 3.4e38f;
    for (const Isa isa : available_isas(detect_cpu())) {
      Pages exact(KvType::f32, head_dim, 20);
      Pages rounded(KvType::bf16, head_dim, 20);
      exact.append(kernels_for(isa).ops, 17, k, v);
      rounded.append(kernels_for(isa).ops, 17, k, v);
      for (int head = 0; head < kHeads; ++head)
        for (int d = 0; d < head_dim; ++d) {
          const auto at = static_cast<size_t>(head * head_dim + d);
          EXPECT_EQ(exact.k<uint32_t>(17, head, d), std::bit_cast<uint32_t>(k[at]));
          EXPECT_EQ(exact.v<uint32_t>(17, head, d), std::bit_cast<uint32_t>(v[at]));
          EXPECT_EQ(rounded.k<uint16_t>(17, head, d), f32_to_bf16(k[at]));
          EXPECT_EQ(rounded.v<uint16_t>(17, head, d), f32_to_bf16(v[at]));
        }
    }
  }
}

// Means far from zero, as biases make them; a token of zeros; magnitudes far apart.
std::vector<float> uneven_values(size_t num_tokens, size_t stride, uint32_t seed) {
  std::vector<float> values = random_values(num_tokens * stride, seed);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] += i % stride % 7 == 0 ? 40.0f : 0.0f;
    if (i / stride == 5) values[i] = 0.0f;
    if (i / stride == 9) values[i] *= 1e-30f;
    if (i / stride == 21) values[i] *= 1e20f;
  }
  return values;
}

TEST(AppendKv, Int8PagesAreAsDefined) {
  constexpr int64_t kTokens = 53;
  for (const int head_dim : {2, 16, 20, 64, 80, 96, 128, 256}) {
    const auto stride = static_cast<size_t>(kHeads * head_dim);
    const auto k = uneven_values(kTokens, stride, 1);
    const auto v = uneven_values(kTokens, stride, 2);
    Pages pages(KvType::int8, head_dim, kTokens);
    pages.append(kernels_for(Isa::scalar).ops, 0, k, v);
    for (int head = 0; head < kHeads; ++head) {
      std::vector<float> head_k;
      std::vector<float> head_v;
      for (size_t at = static_cast<size_t>(head * head_dim); at < k.size(); at += stride)
        for (size_t d = 0; d < static_cast<size_t>(head_dim); ++d) {
          head_k.push_back(k[at + d]);
          head_v.push_back(v[at + d]);
        }
      const Int8Pages want(head_k, head_v, head_dim);
      for (int64_t token = 0; token < kTokens; ++token)
        for (int d = 0; d < head_dim; ++d) {
          ASSERT_EQ(pages.k<int8_t>(token, head, d), want.k(token, d).level) << token << " " << d;
          ASSERT_EQ(pages.v<int8_t>(token, head, d), want.v(token, d).level) << token << " " << d;
          ASSERT_EQ(pages.k_scale(token, head, d), want.k(token, d).scale) << token << " " << d;
          ASSERT_EQ(pages.v_scale(token, head, d), want.v(token, d).scale) << token << " " << d;
        }
      for (int64_t page = 0; page * kPageTokens < kTokens; ++page)
        for (int d = 0; d < head_dim; ++d)
          ASSERT_EQ(pages.k_offset(page * kPageTokens, head, d), want.offset(page, d)) << page << " " << d;
    }
  }
}

TEST(AppendKv, PagesDependOnTheTokensAlone) {
  constexpr int64_t kTokens = 70;
  for (const KvType type : {KvType::f32, KvType::bf16, KvType::int8})
    for (const int head_dim : {20, 64, 128}) {
      const auto stride = static_cast<size_t>(kHeads * head_dim);
      const auto k = uneven_values(kTokens, stride, 3);
      const auto v = uneven_values(kTokens, stride, 4);
      Pages whole(type, head_dim, kTokens);
      whole.append(kernels_for(Isa::scalar).ops, 0, k, v);
      for (const Isa isa : available_isas(detect_cpu()))
        for (const size_t cut : {1, 7, 16, 33, 100}) {
          Pages cuts(type, head_dim, kTokens);
          cuts.append_in_cuts(kernels_for(isa).ops, k, v, cut);
          ASSERT_EQ(cuts.bytes(), whole.bytes()) << to_string(type) << " " << head_dim << " " << cut;
        }
    }
}

// Tokens that are taken back leave no trace.
TEST(AppendKv, Int8TokensCanBeReplaced) {
  constexpr int64_t kTokens = 40;
  constexpr int kDim = 64;
  const auto stride = static_cast<size_t>(kHeads * kDim);
  const auto k = random_values(kTokens * stride, 5);
  const auto v = random_values(kTokens * stride, 6);
  const auto other = uneven_values(kTokens, stride, 7);
  for (const Isa isa : available_isas(detect_cpu())) {
    const OpKernels& ops = kernels_for(isa).ops;
    Pages straight(KvType::int8, kDim, kTokens);
    straight.append(ops, 0, k, v);
    Pages replaced(KvType::int8, kDim, kTokens);
    replaced.append(ops, 0, other, other);
    replaced.append(ops, 0, k, v);
    EXPECT_EQ(straight.bytes(), replaced.bytes());
  }
}

TEST(AppendKv, Int8TokensThatAreNotFiniteHaveNanScalesAndSpareTheNextPage) {
  constexpr int64_t kTokens = 17;
  constexpr int kDim = 64;
  const auto stride = static_cast<size_t>(kHeads * kDim);
  for (const Isa isa : available_isas(detect_cpu())) {
    auto k = random_values(kTokens * stride, 8);
    auto v = random_values(kTokens * stride, 9);
    k[3 * stride + 40] = std::numeric_limits<float>::infinity();          // second group of head 0
    v[4 * stride + kDim + 63] = std::numeric_limits<float>::quiet_NaN();  // head 1
    Pages pages(KvType::int8, kDim, kTokens);
    pages.append(kernels_for(isa).ops, 0, k, v);
    EXPECT_FALSE(std::isnan(pages.k_scale(3, 0, 0)));
    EXPECT_TRUE(std::isnan(pages.k_scale(3, 0, 40)));
    EXPECT_FALSE(std::isnan(pages.k_scale(3, 1, 40)));
    EXPECT_FALSE(std::isnan(pages.k_scale(4, 0, 0)));
    EXPECT_TRUE(std::isnan(pages.k_scale(4, 1, 0)));
    EXPECT_EQ(pages.v_scale(4, 1, 63), 0.0f);
    EXPECT_EQ(pages.v<int8_t>(4, 1, 63), 0);
    for (int head = 0; head < kHeads; ++head)
      for (int d = 0; d < kDim; ++d) EXPECT_LT(std::abs(pages.k_offset(kPageTokens, head, d)), 8.0f);
  }
}

}  // namespace
}  // namespace pagoda
