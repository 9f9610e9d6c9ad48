#include "kv/kv_pool.h"

#include <cstring>

#include "base/check.h"

namespace pagoda {

Result<KvPool> KvPool::create(const KvShape& shape, int32_t num_pages) {
  PAGODA_CHECK(num_pages >= 0 && shape.num_layers > 0 && shape.num_kv_heads > 0 && shape.head_dim > 0,
               "{} pages of {} layers, {} heads, {} dims", num_pages, shape.num_layers, shape.num_kv_heads,
               shape.head_dim);
  const auto num_layers = static_cast<size_t>(shape.num_layers);
  const auto room = static_cast<size_t>(num_pages) + kClusterPages;
  const bool overflows = room > SIZE_MAX / shape.page_bytes();
  auto buffer = AlignedBuffer::allocate(
      overflows ? SIZE_MAX : num_layers * shape.layer_bytes(static_cast<size_t>(num_pages)));
  if (!buffer)
    return fail(ErrorCode::out_of_memory, "the KV cache of {} pages: {}; lower --memory or --max-context",
                num_pages, buffer.error().message);
  return KvPool(shape, num_pages, std::move(*buffer));
}

KvLayerView KvPool::layer(int index) {
  PAGODA_CHECK(index >= 0 && index < shape_.num_layers, "layer {} of {}", index, shape_.num_layers);
  const size_t layer_bytes = shape_.layer_bytes(static_cast<size_t>(num_pages_));
  return {&shape_, buffer_.data() + static_cast<size_t>(index) * layer_bytes};
}

void KvPool::copy_page(PageId from, PageId to) {
  PAGODA_CHECK(from != to && from >= 0 && to >= 0 && from < num_pages_ && to < num_pages_, "{} to {} of {}",
               from, to, num_pages_);
  for (int index = 0; index < shape_.num_layers; ++index) {
    const KvLayerView view = layer(index);
    for (int head = 0; head < shape_.num_kv_heads; ++head) {
      std::memcpy(view.k_plane(to, head), view.k_plane(from, head), shape_.k_plane_bytes());
      std::memcpy(view.v_plane(to, head), view.v_plane(from, head), shape_.v_plane_bytes());
    }
  }
}

}  // namespace pagoda
