#include "kv/pool_committer.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"

namespace pagoda {

namespace {
// A step writes half a cluster by default, and pages of a cluster lie all over its bytes.
constexpr int32_t kStepPages = 2 * kClusterPages;
}  // namespace

size_t PoolCommitter::num_pieces() const {
  return pool_->num_layer_pieces() * static_cast<size_t>(pool_->shape().num_layers);
}

int32_t PoolCommitter::reserve_pages() const {
  const size_t page_bytes = pool_->shape().layer_page_bytes();
  return static_cast<int32_t>((KvPool::kPieceBytes + page_bytes - 1) / page_bytes) + kStepPages;
}

size_t PoolCommitter::num_missing(int32_t end_page) const {
  if (end_page >= pool_->num_pages()) return num_pieces() - next_;
  const size_t bytes = static_cast<size_t>(end_page) * pool_->shape().page_bytes();
  const size_t wanted = std::min((bytes + KvPool::kPieceBytes - 1) / KvPool::kPieceBytes, num_pieces());
  return wanted - std::min(wanted, next_);
}

void PoolCommitter::commit(size_t num_pieces_wanted, ThreadPool& threads) {
  PAGODA_CHECK(num_pieces_wanted <= num_pieces() - next_, "{} pieces after {}", num_pieces_wanted, next_);
  const auto num_layers = static_cast<size_t>(pool_->shape().num_layers);
  std::atomic<bool> refused = false;
  threads.parallel_for(num_pieces_wanted, 1, [&](size_t begin, size_t end, int) {
    for (size_t i = next_ + begin; i < next_ + end; ++i)
      if (!pool_->commit_piece(static_cast<int>(i % num_layers), i / num_layers)) refused = true;
  });
  next_ = refused ? num_pieces() : next_ + num_pieces_wanted;
}

}  // namespace pagoda
