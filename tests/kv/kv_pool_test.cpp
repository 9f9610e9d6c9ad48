#include "kv/kv_pool.h"

#include <cstring>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

constexpr KvShape kShape = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 20, .dtype = DType::bf16};

TEST(KvPool, PlanesOfAllLayersPagesAndHeadsAreApart) {
  auto pool = KvPool::create(kShape, 5);
  ASSERT_TRUE(pool) << pool.error().message;
  int value = 0;
  const auto for_each_plane = [&](auto visit) {
    value = 0;
    for (int layer = 0; layer < kShape.num_layers; ++layer)
      for (PageId page = 0; page < 5; ++page)
        for (int head = 0; head < kShape.num_kv_heads; ++head) {
          const KvLayerView view = pool->layer(layer);
          visit(view.k_plane(page, head), kShape.k_plane_bytes(), ++value);
          visit(view.v_plane(page, head), kShape.v_plane_bytes(), ++value);
        }
  };
  for_each_plane([](std::byte* plane, size_t num_bytes, int mark) { std::memset(plane, mark, num_bytes); });
  for_each_plane([](std::byte* plane, size_t num_bytes, int mark) {
    for (size_t i = 0; i < num_bytes; ++i) ASSERT_EQ(plane[i], static_cast<std::byte>(mark)) << "byte " << i;
  });
}

TEST(KvPool, CopyPageCopiesAllLayersAndNothingElse) {
  auto pool = KvPool::create(kShape, 4);
  ASSERT_TRUE(pool);
  const size_t page_bytes = kShape.layer_page_bytes();
  for (int layer = 0; layer < kShape.num_layers; ++layer)
    for (PageId page = 0; page < 4; ++page)
      std::memset(pool->layer(layer).k_plane(page, 0), 10 * layer + page, page_bytes);
  pool->copy_page(1, 3);
  for (int layer = 0; layer < kShape.num_layers; ++layer)
    for (PageId page = 0; page < 4; ++page) {
      const auto expected = static_cast<std::byte>(10 * layer + (page == 3 ? 1 : page));
      const std::byte* bytes = pool->layer(layer).k_plane(page, 0);
      for (size_t i = 0; i < page_bytes; ++i)
        ASSERT_EQ(bytes[i], expected) << layer << " " << page << " " << i;
    }
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
