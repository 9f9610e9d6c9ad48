// Random operations on a KvCache and on a model of it that is easy to believe: a table is a list of values, a
// page is a shared pointer, and a page with two holders is replaced before it is written.
#include <algorithm>
#include <memory>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "kv/kv_cache.h"

namespace pagoda {
namespace {

constexpr int32_t kNumPages = 24;
constexpr int32_t kMaxTables = 6;
constexpr int64_t kMaxContext = 200;
constexpr KvShape kShape = {.num_layers = 2, .num_kv_heads = 1, .head_dim = 2, .type = KvType::f32};

struct ModelTable {
  KvHandle handle = -1;
  std::vector<float> values;  // committed
  std::vector<std::shared_ptr<int>> pages;
};

class RandomKvCache {
 public:
  explicit RandomKvCache(uint32_t seed) : random_(seed) {}

  void run(int num_operations) {
    for (int i = 0; i < num_operations; ++i) {
      do_one();
      check_counts();
      if (!tables_.empty()) check_contents(pick());
      if (i % 64 == 0) cache_.check_invariants();
    }
    for (ModelTable& table : tables_) check_contents(table);
    while (!tables_.empty()) release();
    EXPECT_EQ(cache_.num_free_pages(), kNumPages);
  }

 private:
  int64_t below(int64_t bound) { return std::uniform_int_distribution<int64_t>(0, bound - 1)(random_); }
  ModelTable& pick() { return tables_[static_cast<size_t>(below(static_cast<int64_t>(tables_.size())))]; }
  bool has_room() const { return tables_.size() < kMaxTables; }

  void do_one() {
    const int64_t what = below(100);
    if (tables_.empty() || (what < 8 && has_room())) {
      tables_.push_back({.handle = cache_.create()});
    } else if (what < 16 && has_room()) {
      fork(pick());
    } else if (what < 22) {
      release();
    } else if (what < 32) {
      truncate(pick());
    } else {
      append(pick(), what < 40);
    }
  }

  void fork(const ModelTable& parent) {
    ModelTable child{.handle = cache_.fork(parent.handle), .values = parent.values};
    child.pages.assign(parent.pages.begin(), parent.pages.begin() + pages_for(std::ssize(parent.values)));
    tables_.push_back(std::move(child));
  }

  void release() {
    const auto index = static_cast<size_t>(below(static_cast<int64_t>(tables_.size())));
    cache_.release(tables_[index].handle);
    tables_.erase(tables_.begin() + static_cast<int64_t>(index));
  }

  void truncate(ModelTable& table) {
    const int64_t length = below(std::ssize(table.values) + 1);
    cache_.truncate(table.handle, length);
    table.values.resize(static_cast<size_t>(length));
    table.pages.resize(static_cast<size_t>(std::min(pages_for(length), std::ssize(table.pages))));
  }

  // Reserves and, unless the tokens stay out, writes and commits them.
  void append(ModelTable& table, bool only_reserve) {
    const int64_t length = std::ssize(table.values);
    const int64_t new_length = std::min(length + below(40), kMaxContext);
    const bool copies = new_length > length && length % kPageTokens != 0 &&
                        table.pages[static_cast<size_t>(length / kPageTokens)].use_count() > 1;
    const int64_t more = std::max<int64_t>(pages_for(new_length) - std::ssize(table.pages), 0);
    const int64_t needed = new_length > length ? more + (copies ? 1 : 0) : 0;
    ASSERT_EQ(cache_.pages_needed(table.handle, new_length), needed);
    const bool fits = needed <= cache_.num_free_pages();
    ASSERT_EQ(cache_.reserve(table.handle, new_length), fits);
    if (!fits) return;
    if (copies) table.pages[static_cast<size_t>(length / kPageTokens)] = std::make_shared<int>();
    for (int64_t i = 0; i < needed - (copies ? 1 : 0); ++i) table.pages.push_back(std::make_shared<int>());
    if (only_reserve) return;
    for (int64_t position = length; position < new_length; ++position) {
      table.values.push_back(next_value_);
      cell(table, position, 0) = next_value_;
      cell(table, position, 1) = -next_value_;
      next_value_ += 1.0f;
    }
    cache_.commit(table.handle, new_length);
  }

  float& cell(const ModelTable& table, int64_t position, int layer) {
    const PageId page = cache_.page_table(table.handle)[static_cast<size_t>(position / kPageTokens)];
    return reinterpret_cast<float*>(pool_.layer(layer).k_plane(page, 0))[position % kPageTokens * 2];
  }

  void check_contents(const ModelTable& table) {
    ASSERT_EQ(cache_.length(table.handle), std::ssize(table.values));
    for (int64_t position = 0; position < std::ssize(table.values); ++position) {
      ASSERT_EQ(cell(table, position, 0), table.values[static_cast<size_t>(position)])
          << "position " << position;
      ASSERT_EQ(cell(table, position, 1), -table.values[static_cast<size_t>(position)])
          << "position " << position;
    }
  }

  void check_counts() {
    std::set<const int*> pages;
    std::set<std::pair<const int*, int64_t>> tokens;
    for (const ModelTable& table : tables_) {
      for (const auto& page : table.pages) pages.insert(page.get());
      for (int64_t position = 0; position < std::ssize(table.values); ++position)
        tokens.insert({table.pages[static_cast<size_t>(position / kPageTokens)].get(), position});
    }
    ASSERT_EQ(cache_.num_free_pages(), kNumPages - static_cast<int32_t>(pages.size()));
    ASSERT_EQ(cache_.live_tokens(), static_cast<int64_t>(tokens.size()));
  }

  KvPool pool_ = *KvPool::create(kShape, kNumPages);
  KvCache cache_{pool_, kMaxTables, kMaxContext};
  std::mt19937 random_;
  std::vector<ModelTable> tables_;
  float next_value_ = 1.0f;
};

TEST(KvCacheRandom, AgreesWithTheModel) {
  for (uint32_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    RandomKvCache(seed).run(5000);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace pagoda
