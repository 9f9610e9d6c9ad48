// Pools a prompt's hidden states as they come, chunk by chunk, into one vector.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"

namespace pagoda {

// Positions [begin, end) of a sequence.
struct PositionRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// Sums run over the positions in ascending order in double precision, so that the vector does not depend on
// how the prompt was cut. Allocates at construction only.
class EmbeddingPool {
 public:
  EmbeddingPool() = default;
  EmbeddingPool(Pooling pooling, int64_t num_prompt, int64_t hidden_size);

  bool wanted() const { return num_prompt_ > 0; }
  // Which of the positions [begin, end) it has to see. A prompt that is computed again is not pooled twice.
  PositionRange rows_of(int64_t begin, int64_t end) const;
  // rows: the hidden states of rows_of() a chunk, which ends at `end`.
  void add(std::span<const float> rows, int64_t end);
  bool complete() const { return num_seen_ == num_prompt_; }
  // Once, when complete; false if a value is not finite.
  bool finish();
  std::span<const float> vector() const { return vector_; }

 private:
  Pooling pooling_ = Pooling::last;
  int64_t num_prompt_ = 0;
  int64_t num_seen_ = 0;
  std::vector<double> sums_;
  std::vector<float> vector_;
};

}  // namespace pagoda
