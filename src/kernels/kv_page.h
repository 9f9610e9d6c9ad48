// Where K and V of a token lie in memory. A page holds 16 tokens of every layer; its bytes are spread over
// the layers' regions. In a region the pages stand in clusters of 32, as many as a segment of attention has,
// so that pages with neighbouring numbers are read as two long runs, first all K, then all V:
//
//   pool:   [layer][cluster][kv head]{ K plane of 32 pages, V plane of 32 pages }
//   K plane [head_dim / 2][16 tokens][2]      one vector of 16 lanes = 16 tokens x 2 dims
//   V plane [ceil(head_dim / 16)][16 tokens / 2][16 dims][2 tokens]
//
// (both are operands of bf16 dot products, none needs a transpose when read). Elements are f32 or bf16. Dims
// beyond head_dim in the last V block are zero or never read.
//
// Always inlined: kernels of several ISAs include this, and none may export a copy compiled for its own ISA.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace pagoda {

using PageId = int32_t;
inline constexpr int kPageTokens = 16;
inline constexpr int kClusterPages = 32;

struct KvShape {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;           // even
  DType dtype = DType::bf16;  // f32 or bf16

  [[gnu::always_inline]] size_t element_bytes() const { return dtype == DType::f32 ? 4 : 2; }
  [[gnu::always_inline]] size_t k_plane_bytes() const {
    return size_t(head_dim) * kPageTokens * element_bytes();
  }
  [[gnu::always_inline]] size_t v_plane_bytes() const {
    return size_t((head_dim + 15) / 16 * 16) * kPageTokens * element_bytes();
  }
  // Planes are multiples of 64 bytes.
  [[gnu::always_inline]] size_t head_bytes() const { return k_plane_bytes() + v_plane_bytes(); }
  [[gnu::always_inline]] size_t layer_page_bytes() const { return head_bytes() * size_t(num_kv_heads); }
  [[gnu::always_inline]] size_t page_bytes() const { return layer_page_bytes() * size_t(num_layers); }
  // Bytes of a layer's region with room for num_pages: whole clusters.
  [[gnu::always_inline]] size_t layer_bytes(size_t num_pages) const {
    return (num_pages + kClusterPages - 1) / kClusterPages * kClusterPages * layer_page_bytes();
  }
  bool operator==(const KvShape&) const = default;
};

// The pages of one layer, in KvShape::layer_bytes bytes.
struct KvLayerView {
  const KvShape* shape = nullptr;
  std::byte* base = nullptr;

  [[gnu::always_inline]] std::byte* k_plane(PageId page, int kv_head) const {
    return head_cluster(page, kv_head) + size_t(page % kClusterPages) * shape->k_plane_bytes();
  }
  [[gnu::always_inline]] std::byte* v_plane(PageId page, int kv_head) const {
    return head_cluster(page, kv_head) + kClusterPages * shape->k_plane_bytes() +
           size_t(page % kClusterPages) * shape->v_plane_bytes();
  }

 private:
  [[gnu::always_inline]] std::byte* head_cluster(PageId page, int kv_head) const {
    const size_t cluster = size_t(page / kClusterPages) * kClusterPages;
    return base + cluster * shape->layer_page_bytes() + size_t(kv_head) * kClusterPages * shape->head_bytes();
  }
};

}  // namespace pagoda
