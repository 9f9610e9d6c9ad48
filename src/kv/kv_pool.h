// The bytes of all KV pages, laid out as kernels/kv_page.h draws them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "kernels/kv_page.h"

namespace pagoda {

class KvPool {
 public:
  // out_of_memory if the system refuses. Memory is committed page by page as it is first used.
  static Result<KvPool> create(const KvShape& shape, int32_t num_pages);

  const KvShape& shape() const { return shape_; }
  int32_t num_pages() const { return num_pages_; }
  // Valid while the pool stays where it is.
  KvLayerView layer(int index);
  // Copies all layers of a page (copy on write).
  void copy_page(PageId from, PageId to);
  // All bytes of a page, shape().page_bytes() of them: [layer][kv head]{planes, as kv_page.h draws them}.
  void copy_out(PageId page, std::span<std::byte> to) const;
  void copy_in(PageId page, std::span<const std::byte> from);
  // The system gives the pool in pieces of kPieceBytes, the last one smaller. Has it give one before it is
  // written (AlignedBuffer::commit). Any thread.
  static constexpr size_t kPieceBytes = size_t{2} << 20;
  size_t num_pieces() const;
  bool commit_piece(size_t piece) const;
  // Fills a page with bytes that are NaN in every type (debug builds, pages that nobody holds).
  void poison_page(PageId page);

 private:
  KvLayerView view(int index) const;
  // Calls act(plane, bytes) for each plane of a page in the order of copy_out().
  template <typename Act>
  void for_each_plane(PageId page, const Act& act) const;

  KvPool(const KvShape& shape, int32_t num_pages, AlignedBuffer buffer)
      : shape_(shape), num_pages_(num_pages), buffer_(std::move(buffer)) {}

  KvShape shape_;
  int32_t num_pages_ = 0;
  AlignedBuffer buffer_;
};

}  // namespace pagoda
