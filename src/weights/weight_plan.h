// From names in a model file to packed weights in memory: first every wanted tensor is named and checked,
// then memory of the exact size is taken once and filled by all threads.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/model_file.h"
#include "weights/decoder_weights.h"
#include "weights/pack_weights.h"
#include "weights/planned_weights.h"

namespace pagoda {

struct LinearSource {
  std::string weight = {};
  std::string bias = {};  // empty: none
  int64_t num_rows = 0;
  int64_t num_cols = 0;
  RowSelection rows = {};  // of weight and bias
  MatrixStorage storage = MatrixStorage::rows;
  bool outline = false;  // Packing::outline where the tensor can have it
};

struct VectorSource {
  std::string name;
  int64_t size = 0;
  RowSelection elements;
  float offset = 0.0f;  // added to every element: norms that store weight - 1
};

// Targets are filled by load() and must stay where they are until then. A missing tensor or one of another
// shape is `corrupt` and named.
class WeightPlan {
 public:
  // bf16_packing: of bf16 weights that fit it.
  explicit WeightPlan(const ModelFile& file, FloatActivations float_activations = FloatActivations::f32,
                      Packing bf16_packing = Packing::palette)
      : float_activations_(float_activations), bf16_packing_(bf16_packing) {
    weights_.file = &file;
  }

  Status add_linear(const LinearSource& source, LinearWeight& target);
  Status add_vector(const VectorSource& source, const float*& target);
  // The table is not copied but read in the file, a few rows a step: an embedding of which a short answer
  // needs a dozen rows is a tenth of some models.
  Status add_rows(const std::string& name, int64_t num_rows, int64_t num_cols, RowTable& target);
  // What must live as long as the rows are read. Without a mapping (tensors in memory) that is the ModelFile.
  std::vector<std::shared_ptr<const MappedFile>> files_of_tables() const;

  // Bytes of memory that load() has taken.
  uint64_t num_bytes() const { return weights_.num_bytes; }
  // Parameters named so far; a tensor counts once however often it is used in parts.
  int64_t num_parameters() const { return num_parameters_; }
  // Tensors of the file that nobody asked for.
  std::vector<std::string> unused_tensors() const;

  // Takes the memory, packs and fills the targets. out_of_memory if the system refuses, or if it would be
  // more than max_bytes. With the path of a cache (packed_cache.h) the packed bytes come from there; a
  // missing or useless one is written anew. Trouble with the cache is never an error, only a warning.
  Result<AlignedBuffer> load(const LinearKernels& kernels, ThreadPool& pool, const WorkProgress& progress,
                             const std::string& cache_path = {},
                             uint64_t max_bytes = std::numeric_limits<uint64_t>::max());

 private:
  Result<const NamedTensor*> find(const std::string& name);
  // Memory for the weights as they are to be packed now.
  Result<AlignedBuffer> allocate(uint64_t max_bytes);
  // What the cache holds. The way that weights are packed in it becomes the plan's.
  Result<AlignedBuffer> read_cache(ThreadPool& pool, const WorkProgress& progress, const std::string& path,
                                   uint64_t max_bytes);
  void write_cache(ThreadPool& pool, const std::string& path, const AlignedBuffer& buffer) const;
  Result<AlignedBuffer> load_packed(const LinearKernels& kernels, ThreadPool& pool,
                                    const WorkProgress& progress, const std::string& cache_path,
                                    uint64_t max_bytes);
  // Once where all matrices fit their packing, as they do in all but odd models; else again, with those that
  // do not packed plainly.
  Result<AlignedBuffer> pack(const LinearKernels& kernels, ThreadPool& pool, const WorkProgress& progress,
                             uint64_t max_bytes);
  void fill_targets(const std::byte* memory) const;
  // So that rows come from memory when they are needed.
  void prefetch_tables() const;

  FloatActivations float_activations_;
  Packing bf16_packing_;
  PlannedWeights weights_;
  std::vector<const NamedTensor*> used_;
  int64_t num_parameters_ = 0;
};

}  // namespace pagoda
