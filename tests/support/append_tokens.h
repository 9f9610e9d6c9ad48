// K and V of tokens into pages, as a layer does it.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernels.h"

namespace pagoda::testing {

// k and v: [tokens][kv_heads][head_dim]; page_table: of the sequence whose tokens from `position` on they
// are.
inline void append_tokens(const OpKernels& ops, const KvLayerView& view, std::span<const PageId> page_table,
                          int64_t position, std::span<const float> k, std::span<const float> v) {
  const KvShape& shape = *view.shape;
  const int64_t stride = int64_t{shape.num_kv_heads} * shape.head_dim;
  const KvAppendArgs args = {.kv = view,
                             .page_table = page_table.data(),
                             .first_position = position,
                             .num_tokens = std::ssize(k) / stride,
                             .k = k.data(),
                             .v = v.data(),
                             .stride = stride};
  for (int64_t part = 0; part < num_append_parts(shape); ++part) ops.append_kv(args, part);
}

}  // namespace pagoda::testing
