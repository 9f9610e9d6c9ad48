// How loops that read from memory ask for data ahead of their use. Changes no result.
#pragma once

#include <cstdint>

namespace pagoda {

enum class CacheLevel : uint8_t { l1, l2 };

struct Prefetch {
  // Where to. What goes to the first level occupies one of the few places for its misses all the way from
  // memory: on Zen 4 loops that ask for it read 15 to 20 GB/s a core, 27 to 30 with the second level.
  CacheLevel level = CacheLevel::l2;
  // How far ahead the weights of a single token are fetched; 0: the processor does better alone.
  int64_t weight_bytes = 0;
  // How far ahead K and V are fetched, in the order of the page table; 0: likewise. Worth it where they come
  // from memory: for few query tokens. Of int8 pages, they always are.
  int64_t kv_bytes = 0;
};

}  // namespace pagoda
