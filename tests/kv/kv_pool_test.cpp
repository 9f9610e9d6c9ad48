#include "kv/kv_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

constexpr KvShape kShape = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 20, .dtype = DType::bf16};

// visit(plane, bytes, number of the plane) for all planes of a page.
template <class Visit>
void for_planes(KvPool& pool, int layer, PageId page, Visit&& visit) {
  const KvLayerView view = pool.layer(layer);
  for (int head = 0; head < kShape.num_kv_heads; ++head) {
    visit(view.k_plane(page, head), kShape.k_plane_bytes(), 2 * head);
    visit(view.v_plane(page, head), kShape.v_plane_bytes(), 2 * head + 1);
  }
}

TEST(KvPool, PlanesOfAllLayersPagesAndHeadsAreApart) {
  constexpr PageId kPages = kClusterPages + 5;
  auto pool = KvPool::create(kShape, kPages);
  ASSERT_TRUE(pool) << pool.error().message;
  std::vector<std::pair<std::byte*, size_t>> planes;
  for (int layer = 0; layer < kShape.num_layers; ++layer)
    for (PageId page = 0; page < kPages; ++page)
      for_planes(*pool, layer, page,
                 [&](std::byte* plane, size_t bytes, int) { planes.emplace_back(plane, bytes); });
  for (const auto& [plane, bytes] : planes) std::memset(plane, 1, bytes);  // the sanitizer knows the bounds
  std::ranges::sort(planes);
  for (size_t i = 1; i < planes.size(); ++i)
    ASSERT_LE(planes[i - 1].first + planes[i - 1].second, planes[i].first) << i;
}

TEST(KvPool, CopyPageCopiesAllLayersAndNothingElse) {
  auto pool = KvPool::create(kShape, 4);
  ASSERT_TRUE(pool);
  const auto mark = [](int layer, PageId page, int plane) { return 40 * layer + 4 * page + plane + 1; };
  for (int layer = 0; layer < kShape.num_layers; ++layer)
    for (PageId page = 0; page < 4; ++page)
      for_planes(*pool, layer, page, [&](std::byte* bytes, size_t num_bytes, int plane) {
        std::memset(bytes, mark(layer, page, plane), num_bytes);
      });
  pool->copy_page(1, 3);
  for (int layer = 0; layer < kShape.num_layers; ++layer)
    for (PageId page = 0; page < 4; ++page)
      for_planes(*pool, layer, page, [&](const std::byte* bytes, size_t num_bytes, int plane) {
        const auto expected = static_cast<std::byte>(mark(layer, page == 3 ? 1 : page, plane));
        for (size_t i = 0; i < num_bytes; ++i)
          ASSERT_EQ(bytes[i], expected) << layer << " " << page << " " << i;
      });
}

TEST(KvPool, RefusesWhatTheSystemCannotMap) {
  constexpr KvShape huge = {
      .num_layers = 1 << 20, .num_kv_heads = 1 << 10, .head_dim = 1 << 10, .dtype = DType::f32};
  const auto pool = KvPool::create(huge, 1 << 20);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().code, ErrorCode::out_of_memory);
}

}  // namespace
}  // namespace pagoda
