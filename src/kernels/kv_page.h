// Where K and V of a token lie in memory. A page holds 16 tokens of every layer. Pages stand in clusters of
// 32, as many as a segment of attention has, so that of a layer pages with neighbouring numbers are read as
// long runs, first all K, then all V. A cluster's layers follow each other, so that few tokens touch little
// memory:
//
//   pool:    [cluster][layer][kv head]{ K planes of 32 pages, V planes, and for int8 V scales, K offsets }
//   K plane  [head_dim / 2][16 tokens][2]      one vector of 16 lanes = 16 tokens x 2 dims
//   V plane  [ceil(head_dim / 16)][16 tokens / 2][16 dims][2 tokens]
//
// (both are operands of dot products of pairs, none needs a transpose when read). Elements are f32, bf16 or
// int8. Dims beyond head_dim in the last V block may be anything.
//
// INT8. Dims are taken in groups of 32. A group of a token's V is its int8 times a scale. A group of K, if
// it has 32 or (the last) 16 dims, first gets a Hadamard transform without a factor: for each bit 16, 8, 4,
// 2, 1 of the dims' numbers, values a and b whose numbers differ in that bit become a + b and a - b. Large
// values of a few dims, such as biases make, then do not take the levels of the others; q gets the same
// (ops.h). A group of a token's K is its int8 times a scale, plus the page's offset: the mean K, as stored,
// of the page before it in the sequence; in the first page the K of the first token. So what a page holds
// depends on the tokens up to its own and nothing else, and is not rewritten when it fills up. Scales and
// offsets are bf16; a scale is the smallest with which 127 covers the group.
//   K plane        ends with the scales, [group][16 tokens]
//   V scale plane  [group][16 tokens]
//   K offset plane [head_dim]: written with the page's first token. Those of successive pages tell what the
//                  pages before them are about, without their K planes.
//
// Always inlined: kernels of several ISAs include this, and none may export a copy compiled for its own ISA.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pagoda {

using PageId = int32_t;
inline constexpr int kPageTokens = 16;
inline constexpr int kClusterPages = 32;

inline constexpr int kKvGroupDims = 32;  // of int8

// How K and V are stored.
enum class KvType : uint8_t { f32, bf16, int8 };

[[gnu::always_inline]] inline const char* to_string(KvType type) {
  return type == KvType::f32 ? "f32" : type == KvType::bf16 ? "bf16" : "int8";
}

struct KvShape {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;  // even
  KvType type = KvType::bf16;

  [[gnu::always_inline]] int num_groups() const { return (head_dim + kKvGroupDims - 1) / kKvGroupDims; }
  // Planes of a page and KV head; multiples of 64 bytes.
  [[gnu::always_inline]] size_t k_plane_bytes() const {
    return whole_lines(size_t(head_dim) * kPageTokens * element_bytes() + scale_bytes());
  }
  [[gnu::always_inline]] size_t v_plane_bytes() const {
    return whole_lines(size_t(padded_dim()) * kPageTokens * element_bytes());
  }
  [[gnu::always_inline]] size_t v_scale_plane_bytes() const { return whole_lines(scale_bytes()); }
  [[gnu::always_inline]] size_t k_offset_plane_bytes() const {
    return type == KvType::int8 ? whole_lines(size_t(padded_dim()) * sizeof(uint16_t)) : 0;
  }
  [[gnu::always_inline]] size_t head_bytes() const {
    return k_plane_bytes() + v_plane_bytes() + v_scale_plane_bytes() + k_offset_plane_bytes();
  }
  [[gnu::always_inline]] size_t layer_page_bytes() const { return head_bytes() * size_t(num_kv_heads); }
  [[gnu::always_inline]] size_t page_bytes() const { return layer_page_bytes() * size_t(num_layers); }
  // Bytes of a pool with room for num_pages: whole clusters.
  [[gnu::always_inline]] size_t pool_bytes(size_t num_pages) const {
    return (num_pages + kClusterPages - 1) / kClusterPages * kClusterPages * page_bytes();
  }
  bool operator==(const KvShape&) const = default;

 private:
  [[gnu::always_inline]] size_t element_bytes() const {
    return type == KvType::f32 ? 4 : type == KvType::bf16 ? 2 : 1;
  }
  [[gnu::always_inline]] static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
  [[gnu::always_inline]] int padded_dim() const { return (head_dim + 15) / 16 * 16; }
  [[gnu::always_inline]] size_t scale_bytes() const {
    return type == KvType::int8 ? size_t(num_groups()) * kPageTokens * sizeof(uint16_t) : 0;
  }
};

// Where the planes of one kind of a layer's KV head are.
struct KvPlanes {
  std::byte* first = nullptr;  // of page 0
  size_t cluster_bytes = 0;    // from a cluster's to the next's
  size_t plane_bytes = 0;

  [[gnu::always_inline]] std::byte* at(PageId page) const {
    const auto number = static_cast<uint32_t>(page);
    return first + size_t(number / kClusterPages) * cluster_bytes +
           size_t(number % kClusterPages) * plane_bytes;
  }
};

// The pages of one layer.
struct KvLayerView {
  const KvShape* shape = nullptr;
  std::byte* base = nullptr;  // of the layer in the first cluster

  [[gnu::always_inline]] KvPlanes k_planes(int kv_head) const {
    return planes(kv_head, 0, shape->k_plane_bytes());
  }
  [[gnu::always_inline]] KvPlanes v_planes(int kv_head) const {
    return planes(kv_head, shape->k_plane_bytes(), shape->v_plane_bytes());
  }
  // Of int8 pages.
  [[gnu::always_inline]] KvPlanes v_scale_planes(int kv_head) const {
    return planes(kv_head, shape->k_plane_bytes() + shape->v_plane_bytes(), shape->v_scale_plane_bytes());
  }
  [[gnu::always_inline]] KvPlanes k_offset_planes(int kv_head) const {
    return planes(kv_head, shape->head_bytes() - shape->k_offset_plane_bytes(),
                  shape->k_offset_plane_bytes());
  }
  // One of each.
  [[gnu::always_inline]] std::byte* k_plane(PageId page, int kv_head) const {
    return k_planes(kv_head).at(page);
  }
  [[gnu::always_inline]] std::byte* v_plane(PageId page, int kv_head) const {
    return v_planes(kv_head).at(page);
  }
  [[gnu::always_inline]] std::byte* v_scale_plane(PageId page, int kv_head) const {
    return v_scale_planes(kv_head).at(page);
  }
  [[gnu::always_inline]] std::byte* k_offset_plane(PageId page, int kv_head) const {
    return k_offset_planes(kv_head).at(page);
  }

 private:
  // bytes_before: of the page's planes that come before these.
  [[gnu::always_inline]] KvPlanes planes(int kv_head, size_t bytes_before, size_t bytes) const {
    return {base + kClusterPages * (size_t(kv_head) * shape->head_bytes() + bytes_before),
            kClusterPages * shape->page_bytes(), bytes};
  }
};

}  // namespace pagoda
