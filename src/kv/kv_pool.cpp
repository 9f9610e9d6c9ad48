#include "kv/kv_pool.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace pagoda {

namespace {

// A page and KV head's planes; those that a type has not are empty.
struct PlaneOf {
  std::byte* (KvLayerView::*begin)(PageId, int) const;
  size_t (KvShape::*bytes)() const;
};
constexpr PlaneOf kPlanes[] = {
    {&KvLayerView::k_plane, &KvShape::k_plane_bytes},
    {&KvLayerView::v_plane, &KvShape::v_plane_bytes},
    {&KvLayerView::v_scale_plane, &KvShape::v_scale_plane_bytes},
    {&KvLayerView::k_offset_plane, &KvShape::k_offset_plane_bytes},
};

}  // namespace

Result<KvPool> KvPool::create(const KvShape& shape, int32_t num_pages) {
  PAGODA_CHECK(num_pages >= 0 && shape.num_layers > 0 && shape.num_kv_heads > 0 && shape.head_dim > 0,
               "{} pages of {} layers, {} heads, {} dims", num_pages, shape.num_layers, shape.num_kv_heads,
               shape.head_dim);
  const auto room = static_cast<size_t>(num_pages) + kClusterPages;
  const bool overflows = room > SIZE_MAX / shape.page_bytes();
  auto buffer =
      AlignedBuffer::allocate(overflows ? SIZE_MAX : shape.pool_bytes(static_cast<size_t>(num_pages)));
  if (!buffer)
    return fail(ErrorCode::out_of_memory, "the KV cache of {} pages: {}; lower --memory or --max-context",
                num_pages, buffer.error().message);
  return KvPool(shape, num_pages, std::move(*buffer));
}

KvLayerView KvPool::view(int index) const {
  PAGODA_CHECK(index >= 0 && index < shape_.num_layers, "layer {} of {}", index, shape_.num_layers);
  const size_t before = static_cast<size_t>(index) * kClusterPages * shape_.layer_page_bytes();
  return {&shape_, const_cast<std::byte*>(buffer_.data()) + before};
}

KvLayerView KvPool::layer(int index) {
  return view(index);
}

template <typename Act>
void KvPool::for_each_plane(PageId page, const Act& act) const {
  PAGODA_CHECK(page >= 0 && page < num_pages_, "page {} of {}", page, num_pages_);
  for (int index = 0; index < shape_.num_layers; ++index) {
    const KvLayerView layer = view(index);
    for (int head = 0; head < shape_.num_kv_heads; ++head)
      for (const PlaneOf& plane : kPlanes) act((layer.*plane.begin)(page, head), (shape_.*plane.bytes)());
  }
}

void KvPool::copy_page(PageId from, PageId to) {
  PAGODA_CHECK(from != to && from >= 0 && to >= 0 && from < num_pages_ && to < num_pages_, "{} to {} of {}",
               from, to, num_pages_);
  for (int index = 0; index < shape_.num_layers; ++index) {
    const KvLayerView view = layer(index);
    for (int head = 0; head < shape_.num_kv_heads; ++head)
      for (const PlaneOf& plane : kPlanes)
        std::memcpy((view.*plane.begin)(to, head), (view.*plane.begin)(from, head), (shape_.*plane.bytes)());
  }
}

void KvPool::copy_out(PageId page, std::span<std::byte> to) const {
  PAGODA_CHECK(to.size() == shape_.page_bytes(), "{} bytes for a page of {}", to.size(), shape_.page_bytes());
  std::byte* next = to.data();
  for_each_plane(page, [&](const std::byte* plane, size_t num_bytes) {
    std::memcpy(next, plane, num_bytes);
    next += num_bytes;
  });
}

void KvPool::copy_in(PageId page, std::span<const std::byte> from) {
  PAGODA_CHECK(from.size() == shape_.page_bytes(), "{} bytes for a page of {}", from.size(),
               shape_.page_bytes());
  const std::byte* next = from.data();
  for_each_plane(page, [&](std::byte* plane, size_t num_bytes) {
    std::memcpy(plane, next, num_bytes);
    next += num_bytes;
  });
}

size_t KvPool::num_pieces() const {
  return (buffer_.size() + kPieceBytes - 1) / kPieceBytes;
}

bool KvPool::commit_piece(size_t piece) const {
  PAGODA_CHECK(piece < num_pieces(), "piece {} of {}", piece, num_pieces());
  const size_t begin = piece * kPieceBytes;
  return buffer_.commit(begin, std::min(kPieceBytes, buffer_.size() - begin));
}

void KvPool::poison_page(PageId page) {
  for_each_plane(page, [](std::byte* plane, size_t num_bytes) { std::memset(plane, 0xff, num_bytes); });
}

}  // namespace pagoda
