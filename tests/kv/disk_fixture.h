// Pages whose bytes follow from their keys, in memory and in a store on a disk.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kv/disk/disk_page_store.h"
#include "kv/disk/record.h"
#include "kv/page_chain.h"

namespace pagoda::testing {

inline constexpr Digest kFingerprint = {0x1234, 0x5678};
inline const Digest kRoot = root_key(kFingerprint, {});

// Not a multiple of 4096, so that payloads have padding.
inline constexpr size_t kPageBytes = 3 * 4096 + 64;

class TestPages final : public PageMemory {
 public:
  explicit TestPages(int32_t num_pages, size_t page_bytes = kPageBytes)
      : page_bytes_(page_bytes), bytes_(static_cast<size_t>(num_pages) * page_bytes) {}

  size_t page_bytes() const override { return page_bytes_; }
  void copy_out(PageId page, std::span<std::byte> to) const override {
    std::ranges::copy(page_span(page), to.begin());
  }
  void copy_in(PageId page, std::span<const std::byte> from) override {
    std::memcpy(bytes_.data() + static_cast<size_t>(page) * page_bytes_, from.data(), page_bytes_);
  }
  std::span<const std::byte> page_span(PageId page) const {
    return std::span(bytes_).subspan(static_cast<size_t>(page) * page_bytes_, page_bytes_);
  }

  // The bytes that a page of this key has.
  std::vector<std::byte> expected(const Digest& key) const {
    std::vector<std::byte> bytes(page_bytes_);
    uint64_t state = key.low;
    for (std::byte& byte : bytes) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<std::byte>(state >> 56);
    }
    return bytes;
  }
  void fill(PageId page, const Digest& key) { copy_in(page, expected(key)); }
  void wipe(PageId page) { copy_in(page, std::vector<std::byte>(page_bytes_)); }
  bool holds(PageId page, const Digest& key) const {
    return std::ranges::equal(page_span(page), expected(key));
  }

 private:
  size_t page_bytes_;
  std::vector<std::byte> bytes_;
};

inline PageIdentity make_identity(const Digest& parent, int32_t token) {
  PageIdentity identity;
  identity.parent = parent;
  for (int i = 0; i < kPageTokens; ++i) identity.tokens[static_cast<size_t>(i)] = text_key(token * 100 + i);
  identity.key = page_key(parent, identity.tokens);
  return identity;
}

// Pages one after the other: each the parent of the next.
inline std::vector<PageIdentity> make_chain(int count, int32_t first_token = 1, Digest parent = kRoot) {
  std::vector<PageIdentity> chain;
  for (int i = 0; i < count; ++i) {
    chain.push_back(make_identity(parent, first_token + i));
    parent = chain.back().key;
  }
  return chain;
}

inline DiskStoreOptions store_options(const std::string& folder, int num_slots = 16,
                                      DiskIo io = DiskIo::automatic) {
  DiskStoreOptions options;
  options.folder = folder;
  options.fingerprint = kFingerprint;
  options.roots = {kRoot};
  // Segments of five slots.
  options.segment_bytes = kHeaderBytes + 5 * slot_bytes_of(kPageBytes);
  const int full = num_slots / 5;
  const int rest = num_slots % 5;
  options.bytes = static_cast<uint64_t>(full) * options.segment_bytes +
                  (rest > 0 ? kHeaderBytes + static_cast<uint64_t>(rest) * slot_bytes_of(kPageBytes) : 0);
  options.io = io;
  return options;
}

// Waits for transfers as nobody but a test may.
class StoreDriver {
 public:
  StoreDriver(DiskPageStore& store, TestPages& pages) : store_(store), pages_(pages) {}

  // All that end until nothing is under way.
  std::vector<PageTransfer> drain() {
    std::vector<PageTransfer> all;
    while (under_way_ > 0) {
      PageTransfer done[4];
      const size_t count = store_.poll(done);
      under_way_ -= static_cast<int>(count);
      all.insert(all.end(), done, done + count);
      if (count == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return all;
  }
  SlotId begin_write(const PageIdentity& identity, PageId page, uint64_t tag = 0) {
    pages_.fill(page, identity.key);
    const SlotId slot = store_.write(identity, page, tag);
    if (slot != kNoSlot) ++under_way_;
    return slot;
  }
  bool begin_read(SlotId slot, const PageIdentity& identity, PageId page, uint64_t tag = 0) {
    const bool begun = store_.read(slot, identity, page, tag);
    if (begun) ++under_way_;
    return begun;
  }
  // kNoSlot if it could not be written.
  SlotId write(const PageIdentity& identity) {
    const SlotId slot = begin_write(identity, 0);
    if (slot == kNoSlot) return kNoSlot;
    const auto done = drain();
    return done.size() == 1 && done[0].ok ? slot : kNoSlot;
  }
  std::vector<StoredPage> write_all(const std::vector<PageIdentity>& identities) {
    std::vector<StoredPage> stored;
    for (const PageIdentity& identity : identities) stored.push_back({write(identity), identity});
    return stored;
  }
  // Whether the slot gave the page with the right bytes; wrong bytes fail the test.
  bool reads_back(SlotId slot, const PageIdentity& identity) {
    pages_.wipe(1);
    EXPECT_TRUE(begin_read(slot, identity, 1));
    const auto done = drain();
    if (done.size() != 1 || !done[0].ok) return false;
    EXPECT_TRUE(pages_.holds(1, identity.key)) << "slot " << slot;
    return true;
  }
  int under_way() const { return under_way_; }

 private:
  DiskPageStore& store_;
  TestPages& pages_;
  int under_way_ = 0;
};

}  // namespace pagoda::testing
