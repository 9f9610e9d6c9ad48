#include "kv/kv_pool.h"

#include <cstring>

#include "base/check.h"

namespace pagoda {

Result<KvPool> KvPool::create(const KvShape& shape, int32_t num_pages) {
  PAGODA_CHECK(num_pages >= 0 && shape.num_layers > 0 && shape.num_kv_heads > 0 && shape.head_dim > 0,
               "{} pages of {} layers, {} heads, {} dims", num_pages, shape.num_layers, shape.num_kv_heads,
               shape.head_dim);
  const bool overflows = static_cast<size_t>(num_pages) > SIZE_MAX / shape.page_bytes();
  auto buffer =
      AlignedBuffer::allocate(overflows ? SIZE_MAX : static_cast<size_t>(num_pages) * shape.page_bytes());
  if (!buffer)
    return fail(ErrorCode::out_of_memory, "the KV cache of {} pages: {}; lower --memory or --max-context",
                num_pages, buffer.error().message);
  return KvPool(shape, num_pages, std::move(*buffer));
}

KvLayerView KvPool::layer(int index) {
  PAGODA_CHECK(index >= 0 && index < shape_.num_layers, "layer {} of {}", index, shape_.num_layers);
  const size_t layer_bytes = static_cast<size_t>(num_pages_) * shape_.layer_page_bytes();
  return {&shape_, buffer_.data() + static_cast<size_t>(index) * layer_bytes};
}

void KvPool::copy_page(PageId from, PageId to) {
  PAGODA_CHECK(from != to && from >= 0 && to >= 0 && from < num_pages_ && to < num_pages_, "{} to {} of {}",
               from, to, num_pages_);
  for (int index = 0; index < shape_.num_layers; ++index) {
    const KvLayerView view = layer(index);
    std::memcpy(view.k_plane(to, 0), view.k_plane(from, 0), shape_.layer_page_bytes());
  }
}

}  // namespace pagoda
