#include "engine/evaluate.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kv/kv_cache.h"
#include "kv/kv_pool.h"
#include "nn/workspace.h"

namespace pagoda {

namespace {

constexpr int64_t kMaxLogitsBytes = int64_t{64} << 20;  // of one step

int32_t rows_per_step(const EvaluatorLimits& limits, int64_t vocab_size) {
  const int64_t fitting = kMaxLogitsBytes / (vocab_size * int64_t{sizeof(float)});
  const int64_t rows = std::clamp<int64_t>(fitting, 1, limits.max_tokens_per_step);
  return static_cast<int32_t>(std::max<int64_t>(rows, limits.max_sequences));
}

}  // namespace

struct Evaluator::Impl {
  Impl(Model& the_model, const Kernels& the_kernels, ThreadPool& the_pool, const EvaluatorLimits& the_limits,
       int32_t max_rows, KvPool the_kv, Workspace the_workspace)
      : model(the_model),
        kernels(the_kernels),
        pool(the_pool),
        limits(the_limits),
        kv(std::move(the_kv)),
        workspace(std::move(the_workspace)),
        cache(kv, limits.max_sequences, limits.max_context),
        logits(static_cast<size_t>(max_rows) * static_cast<size_t>(model.info().vocab_size)) {
    const auto max_tokens = static_cast<size_t>(std::max(limits.max_tokens_per_step, limits.max_sequences));
    positions.resize(max_tokens);
    rows.resize(max_tokens);
    slices.resize(static_cast<size_t>(limits.max_sequences));
    for (int32_t i = 0; i < limits.max_sequences; ++i) handles.push_back(cache.create());
  }

  size_t vocab_size() const { return static_cast<size_t>(model.info().vocab_size); }
  KvHandle handle(int32_t sequence) const { return handles.at(static_cast<size_t>(sequence)); }

  Status check(int32_t sequence, std::span<const int32_t> ids) const {
    for (const int32_t id : ids) {
      if (id < 0 || id >= model.info().vocab_size)
        return fail(ErrorCode::invalid_argument, "token id {} is outside the vocabulary (0 to {})", id,
                    model.info().vocab_size - 1);
    }
    const int64_t new_length = cache.length(handle(sequence)) + static_cast<int64_t>(ids.size());
    if (new_length > limits.max_context)
      return fail(ErrorCode::invalid_argument, "{} tokens do not fit the context of {}", new_length,
                  limits.max_context);
    return {};
  }

  // Reserves pages for num_tokens more and describes them as slice `index`.
  void place(int32_t index, int32_t sequence, int32_t token_begin, int32_t num_tokens) {
    const KvHandle table = handle(sequence);
    const int64_t length = cache.length(table);
    const bool reserved = cache.reserve(table, length + num_tokens);
    PAGODA_CHECK(reserved, "the pool was sized for all sequences");
    slices[static_cast<size_t>(index)] = {token_begin, num_tokens, length, cache.page_table(table)};
    const auto own =
        std::span(positions).subspan(static_cast<size_t>(token_begin), static_cast<size_t>(num_tokens));
    std::iota(own.begin(), own.end(), static_cast<int32_t>(length));
  }

  void forward(std::span<const int32_t> ids, size_t num_slices, size_t num_rows, bool only_greatest) {
    const ForwardBatch batch = {.token_ids = ids,
                                .positions = std::span(positions).first(ids.size()),
                                .sequences = std::span(slices).first(num_slices),
                                .logits_rows = std::span(rows).first(num_rows),
                                .only_greatest = only_greatest};
    workspace.reset();
    ForwardContext context = {pool, kernels, kv, workspace};
    model.forward(batch, context, std::span(logits).first(num_rows * vocab_size()));
  }

  Model& model;
  const Kernels& kernels;
  ThreadPool& pool;
  EvaluatorLimits limits;
  KvPool kv;
  Workspace workspace;
  KvCache cache;
  std::vector<KvHandle> handles;
  std::vector<float> logits;
  std::vector<int32_t> positions;
  std::vector<int32_t> rows;
  std::vector<SequenceSlice> slices;
};

Result<Evaluator> Evaluator::create(Model& model, const Kernels& kernels, ThreadPool& pool,
                                    const EvaluatorLimits& limits) {
  const ModelInfo& info = model.info();
  if (limits.max_context < 1 || limits.max_context > info.max_context)
    return fail(ErrorCode::invalid_argument, "a context of {} tokens; this model was made for 1 to {}",
                limits.max_context, info.max_context);
  if (limits.max_sequences < 1 || limits.max_tokens_per_step < 1)
    return fail(ErrorCode::invalid_argument, "sequences and tokens per step must be at least 1");
  const int32_t max_rows = rows_per_step(limits, info.vocab_size);
  BatchLimits batch_limits;
  batch_limits.max_tokens = std::max(limits.max_tokens_per_step, limits.max_sequences);
  batch_limits.max_sequences = limits.max_sequences;
  batch_limits.max_logits_rows = max_rows;
  batch_limits.max_context = limits.max_context;
  batch_limits.num_threads = pool.num_threads();
  const int64_t num_pages = pages_for(limits.max_context) * limits.max_sequences;
  if (num_pages > INT32_MAX)
    return fail(ErrorCode::invalid_argument, "{} sequences of {} tokens need too many pages",
                limits.max_sequences, limits.max_context);
  KvShape kv_shape = info.kv_shape;
  kv_shape.type = limits.kv_type.value_or(kv_shape.type);
  const size_t workspace_bytes = model.workspace_bytes(batch_limits);
  const uint64_t needed = info.weight_bytes + static_cast<uint64_t>(num_pages) * kv_shape.page_bytes() +
                          workspace_bytes + static_cast<uint64_t>(max_rows * info.vocab_size) * sizeof(float);
  if (needed > limits.memory_bytes)
    return fail(ErrorCode::out_of_memory,
                "{} sequences of {} tokens need {} MB with the weights, but the memory budget is {} MB; "
                "raise --memory "
                "or ask for fewer tokens",
                limits.max_sequences, limits.max_context, needed / 1'000'000 + 1,
                limits.memory_bytes / 1'000'000);
  PAGODA_TRY(KvPool kv, KvPool::create(kv_shape, static_cast<int32_t>(num_pages)));
  PAGODA_TRY(Workspace workspace, Workspace::create(workspace_bytes));
  return Evaluator(
      std::make_unique<Impl>(model, kernels, pool, limits, max_rows, std::move(kv), std::move(workspace)));
}

Evaluator::Evaluator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Evaluator::Evaluator(Evaluator&&) noexcept = default;
Evaluator& Evaluator::operator=(Evaluator&&) noexcept = default;
Evaluator::~Evaluator() = default;

Status Evaluator::append(int32_t sequence, std::span<const int32_t> ids, size_t first_wanted,
                         const OnLogits& on_logits) {
  PAGODA_TRY_STATUS(impl_->check(sequence, ids));
  const auto max_tokens = static_cast<size_t>(impl_->limits.max_tokens_per_step);
  const size_t max_rows = impl_->logits.size() / impl_->vocab_size();
  size_t done = 0;
  while (done < ids.size()) {
    // A chunk ends where the wanted rows would outgrow the logits buffer.
    size_t chunk_end = std::min(ids.size(), done + max_tokens);
    const size_t first_row = std::clamp(first_wanted, done, chunk_end);
    chunk_end = std::min(chunk_end, first_row + max_rows);
    const size_t num_rows = chunk_end - first_row;
    const auto num_tokens = static_cast<int32_t>(chunk_end - done);
    const int64_t length = impl_->cache.length(impl_->handle(sequence));
    impl_->place(0, sequence, 0, num_tokens);
    std::iota(impl_->rows.begin(), impl_->rows.begin() + static_cast<std::ptrdiff_t>(num_rows),
              static_cast<int32_t>(first_row - done));
    impl_->forward(ids.subspan(done, chunk_end - done), 1, num_rows, false);
    impl_->cache.commit(impl_->handle(sequence), length + num_tokens);
    for (size_t row = 0; row < num_rows; ++row) {
      on_logits(length + static_cast<int64_t>(first_row - done + row),
                std::span(impl_->logits).subspan(row * impl_->vocab_size(), impl_->vocab_size()));
    }
    done = chunk_end;
  }
  return {};
}

Result<std::span<const float>> Evaluator::step(std::span<const int32_t> tokens, bool only_greatest) {
  PAGODA_CHECK(tokens.size() <= impl_->handles.size(), "{} tokens for {} sequences", tokens.size(),
               impl_->handles.size());
  for (size_t i = 0; i < tokens.size(); ++i)
    PAGODA_TRY_STATUS(impl_->check(static_cast<int32_t>(i), tokens.subspan(i, 1)));
  for (size_t i = 0; i < tokens.size(); ++i) {
    impl_->place(static_cast<int32_t>(i), static_cast<int32_t>(i), static_cast<int32_t>(i), 1);
    impl_->rows[i] = static_cast<int32_t>(i);
  }
  impl_->forward(tokens, tokens.size(), tokens.size(), only_greatest);
  for (const KvHandle handle : std::span(impl_->handles).first(tokens.size()))
    impl_->cache.commit(handle, impl_->cache.length(handle) + 1);
  return std::span<const float>(impl_->logits).first(tokens.size() * impl_->vocab_size());
}

void Evaluator::truncate(int32_t sequence, int64_t length) {
  impl_->cache.truncate(impl_->handle(sequence), length);
}

int64_t Evaluator::length(int32_t sequence) const {
  return impl_->cache.length(impl_->handle(sequence));
}

}  // namespace pagoda
