#include "kv/kv_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

class KvPoolTest : public ::testing::TestWithParam<KvType> {
 protected:
  const KvShape shape_ = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 20, .type = GetParam()};
};

// visit(plane, bytes, number of the plane) for all planes of a page.
template <class Visit>
void for_planes(KvPool& pool, int layer, PageId page, Visit&& visit) {
  const KvLayerView view = pool.layer(layer);
  const KvShape& shape = pool.shape();
  for (int head = 0; head < shape.num_kv_heads; ++head) {
    visit(view.k_plane(page, head), shape.k_plane_bytes(), 4 * head);
    visit(view.v_plane(page, head), shape.v_plane_bytes(), 4 * head + 1);
    visit(view.v_scale_plane(page, head), shape.v_scale_plane_bytes(), 4 * head + 2);
    visit(view.k_offset_plane(page, head), shape.k_offset_plane_bytes(), 4 * head + 3);
  }
}

TEST_P(KvPoolTest, PlanesOfAllLayersPagesAndHeadsAreApart) {
  constexpr PageId kPages = kClusterPages + 5;
  auto pool = KvPool::create(shape_, kPages);
  ASSERT_TRUE(pool) << pool.error().message;
  std::vector<std::pair<std::byte*, size_t>> planes;
  for (int layer = 0; layer < shape_.num_layers; ++layer)
    for (PageId page = 0; page < kPages; ++page)
      for_planes(*pool, layer, page,
                 [&](std::byte* plane, size_t bytes, int) { planes.emplace_back(plane, bytes); });
  for (const auto& [plane, bytes] : planes) std::memset(plane, 1, bytes);  // the sanitizer knows the bounds
  std::ranges::sort(planes);
  for (size_t i = 1; i < planes.size(); ++i)
    ASSERT_LE(planes[i - 1].first + planes[i - 1].second, planes[i].first) << i;
}

TEST_P(KvPoolTest, CopyPageCopiesAllLayersAndNothingElse) {
  auto pool = KvPool::create(shape_, 4);
  ASSERT_TRUE(pool);
  const auto mark = [](int layer, PageId page, int plane) { return 64 * layer + 8 * page + plane + 1; };
  for (int layer = 0; layer < shape_.num_layers; ++layer)
    for (PageId page = 0; page < 4; ++page)
      for_planes(*pool, layer, page, [&](std::byte* bytes, size_t num_bytes, int plane) {
        std::memset(bytes, mark(layer, page, plane), num_bytes);
      });
  pool->copy_page(1, 3);
  for (int layer = 0; layer < shape_.num_layers; ++layer)
    for (PageId page = 0; page < 4; ++page)
      for_planes(*pool, layer, page, [&](const std::byte* bytes, size_t num_bytes, int plane) {
        const auto expected = static_cast<std::byte>(mark(layer, page == 3 ? 1 : page, plane));
        for (size_t i = 0; i < num_bytes; ++i)
          ASSERT_EQ(bytes[i], expected) << layer << " " << page << " " << i;
      });
}

TEST_P(KvPoolTest, APageGoesOutAndComesBack) {
  auto pool = KvPool::create(shape_, 3);
  ASSERT_TRUE(pool);
  std::vector<std::byte> page(shape_.page_bytes());
  for (size_t i = 0; i < page.size(); ++i) page[i] = static_cast<std::byte>(i * 7 + i / 256);
  pool->copy_in(2, page);
  std::vector<std::byte> copy(page.size());
  pool->copy_out(2, copy);
  EXPECT_EQ(copy, page);
  pool->copy_page(2, 0);
  pool->poison_page(2);
  pool->copy_out(0, copy);
  EXPECT_EQ(copy, page);
  pool->copy_out(2, copy);
  EXPECT_EQ(copy, std::vector<std::byte>(page.size(), std::byte{0xff}));
}

INSTANTIATE_TEST_SUITE_P(Types, KvPoolTest, ::testing::Values(KvType::f32, KvType::bf16, KvType::int8),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

// 9 bits an element: 8 of its own, scales and offsets.
TEST(KvShape, Int8TakesNineSixteenthsOfBf16) {
  for (const int head_dim : {64, 128, 256}) {
    const KvShape bf16 = {.num_layers = 28, .num_kv_heads = 2, .head_dim = head_dim, .type = KvType::bf16};
    KvShape int8 = bf16;
    int8.type = KvType::int8;
    EXPECT_EQ(int8.page_bytes() * 16, bf16.page_bytes() * 9);
  }
}

TEST(KvPool, RefusesWhatTheSystemCannotMap) {
  constexpr KvShape huge = {
      .num_layers = 1 << 20, .num_kv_heads = 1 << 10, .head_dim = 1 << 10, .type = KvType::f32};
  const auto pool = KvPool::create(huge, 1 << 20);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().code, ErrorCode::out_of_memory);
}

}  // namespace
}  // namespace pagoda
