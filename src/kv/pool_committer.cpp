#include "kv/pool_committer.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"

namespace pagoda {

size_t PoolCommitter::num_missing(int32_t end_page) const {
  if (end_page >= pool_->num_pages()) return pool_->num_pieces() - next_;
  const size_t bytes = static_cast<size_t>(end_page) * pool_->shape().page_bytes();
  const size_t wanted =
      std::min((bytes + KvPool::kPieceBytes - 1) / KvPool::kPieceBytes, pool_->num_pieces());
  return wanted - std::min(wanted, next_);
}

void PoolCommitter::commit(size_t num_pieces_wanted, ThreadPool& threads) {
  PAGODA_CHECK(num_pieces_wanted <= pool_->num_pieces() - next_, "{} pieces after {}", num_pieces_wanted,
               next_);
  std::atomic<bool> refused = false;
  threads.parallel_for(num_pieces_wanted, 1, [&](size_t begin, size_t end, int) {
    for (size_t i = next_ + begin; i < next_ + end; ++i)
      if (!pool_->commit_piece(i)) refused = true;
  });
  next_ = refused ? pool_->num_pieces() : next_ + num_pieces_wanted;
}

}  // namespace pagoda
