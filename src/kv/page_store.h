// Full pages kept outside the pool, by slot. The cache's tree says which page lies in which slot; the store
// moves bytes and answers for them: what it returns is what was written, or nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/hash.h"
#include "kernels/kv_page.h"
#include "kv/prefix_key.h"

namespace pagoda {

using SlotId = int32_t;
inline constexpr SlotId kNoSlot = -1;

// Who a stored page is. key = the chain over its parent's key and its tokens (page_chain.h); a sequence's
// first page has the key of its namespace as parent.
struct PageIdentity {
  Digest key;
  Digest parent;
  PageTokens tokens{};
  bool operator==(const PageIdentity&) const = default;
};

struct StoredPage {
  SlotId slot = kNoSlot;
  PageIdentity identity;
};

// Both ends of a transfer in memory. Called on the store's threads, for pages that stay as they are
// meanwhile.
class PageMemory {
 public:
  virtual ~PageMemory() = default;
  virtual size_t page_bytes() const = 0;
  virtual void copy_out(PageId page, std::span<std::byte> to) const = 0;
  virtual void copy_in(PageId page, std::span<const std::byte> from) = 0;
};

struct PageTransfer {
  enum class Kind { write, read };
  Kind kind = Kind::write;
  // write: durable; read: the page holds what was stored. If not, the slot holds nothing any more, but is not
  // free before it is erased.
  bool ok = false;
  SlotId slot = kNoSlot;
  PageId page = 0;
  uint64_t tag = 0;
};

// All calls come from one thread and, but for wait(), never wait for the disk.
class PageStore {
 public:
  virtual ~PageStore() = default;

  virtual int32_t num_slots() const = 0;
  // Whether write() is worth a try: false for good once the disk is found to fail or to be read-only.
  virtual bool can_write() const = 0;
  virtual int32_t num_free_slots() const = 0;
  // What was found when the store was opened, parents before children; only the first call returns it.
  virtual std::vector<StoredPage> take_contents() = 0;

  // Begins to store `page`: copies it before it returns; poll() reports the transfer with `tag`. kNoSlot when
  // no slot is free or as many transfers are under way as the store has buffers for; then nothing happened.
  virtual SlotId write(const PageIdentity& identity, PageId page, uint64_t tag) = 0;
  // Begins to fill `page`, which nobody may touch until poll() reports the transfer. False when as many
  // transfers are under way as the store has buffers for; then nothing happened.
  virtual bool read(SlotId slot, const PageIdentity& identity, PageId page, uint64_t tag) = 0;
  // Forgets what a slot holds; no transfer of it may be under way. It is free again some time later.
  virtual void erase(SlotId slot) = 0;
  // Transfers that have ended since the last call, up to done.size(); returns how many.
  virtual size_t poll(std::span<PageTransfer> done) = 0;
  // Returns when poll() has something new, or after that time.
  virtual void wait(int64_t max_ns) = 0;
  // That a page takes to come back, one of many, as far as is known; 0: nothing is.
  virtual double seconds_per_read() const = 0;
};

}  // namespace pagoda
