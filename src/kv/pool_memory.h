// A pool as the memory end of a store's transfers.
#pragma once

#include "kv/kv_pool.h"
#include "kv/page_store.h"

namespace pagoda {

class PoolMemory final : public PageMemory {
 public:
  explicit PoolMemory(KvPool& pool) : pool_(&pool) {}
  size_t page_bytes() const override { return pool_->shape().page_bytes(); }
  void copy_out(PageId page, std::span<std::byte> to) const override { pool_->copy_out(page, to); }
  void copy_in(PageId page, std::span<const std::byte> from) override { pool_->copy_in(page, from); }

 private:
  KvPool* pool_;
};

}  // namespace pagoda
