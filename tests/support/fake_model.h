// A model without weights whose logits are a hash of the whole context, read back through the page tables
// from the KV pool: any mistake in paging, chunking, forking or recomputing changes what comes out.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "base/check.h"
#include "model/model.h"

namespace pagoda::testing {

class FakeModel final : public Model {
 public:
  struct Options {
    int64_t vocab_size = 64;
    int64_t max_context = 4096;
    int64_t hidden_size = 8;
    float spread = 8.0f;                                  // logits lie in [0, spread)
    int32_t poison_token = -1;                            // after this token the logits are NaN
    std::function<void(const ForwardBatch&)> on_forward;  // called first in every forward pass
    // The token that must come after a context, or -1 for whatever the hash says.
    std::function<int32_t(std::span<const int32_t> context)> script;
  };

  explicit FakeModel(Options options) : options_(std::move(options)) {
    info_.architecture = "fake";
    info_.name = "fake-model";
    info_.vocab_size = options_.vocab_size;
    info_.max_context = options_.max_context;
    info_.hidden_size = options_.hidden_size;
    info_.kv_shape = {.num_layers = 2, .num_kv_heads = 1, .head_dim = 2, .type = KvType::f32};
    info_.weight_bytes = 1 << 20;
  }

  const ModelInfo& info() const override { return info_; }
  size_t workspace_bytes(const BatchLimits& limits) const override {
    return static_cast<size_t>(limits.max_tokens) * 64;
  }

  void forward(const ForwardBatch& batch, ForwardContext& context,
               std::span<float> logits) noexcept override {
    if (options_.on_forward) options_.on_forward(batch);
    size_t next_row = 0;
    size_t next_hidden = 0;
    for (const SequenceSlice& slice : batch.sequences) {
      for (int32_t i = 0; i < slice.num_tokens; ++i) {
        const int32_t token = slice.token_begin + i;
        const int64_t position = slice.first_position + i;
        PAGODA_CHECK(batch.positions[static_cast<size_t>(token)] == position, "position of token {}", token);
        write(context.kv, slice, position, batch.token_ids[static_cast<size_t>(token)]);
        if (next_hidden < batch.hidden_rows.size() && batch.hidden_rows[next_hidden] == token) {
          const auto width = static_cast<size_t>(options_.hidden_size);
          fill(hash(context.kv, slice, position), batch.token_ids[static_cast<size_t>(token)],
               context.hidden.subspan(next_hidden++ * width, width));
        }
        if (next_row == batch.logits_rows.size() || batch.logits_rows[next_row] != token) continue;
        const std::span<float> row = logits.subspan(next_row * static_cast<size_t>(options_.vocab_size),
                                                    static_cast<size_t>(options_.vocab_size));
        fill(hash(context.kv, slice, position), batch.token_ids[static_cast<size_t>(token)], row);
        if (options_.script) follow_script(context.kv, slice, position, row);
        ++next_row;
      }
    }
    PAGODA_CHECK(next_row == batch.logits_rows.size(), "{} of {} rows", next_row, batch.logits_rows.size());
    PAGODA_CHECK(next_hidden == batch.hidden_rows.size(), "{} of {} rows", next_hidden,
                 batch.hidden_rows.size());
  }

  // The same from a plain list of tokens: the oracle.
  std::vector<float> logits_of(std::span<const int32_t> context) const {
    return values_of(context, options_.vocab_size);
  }
  std::vector<float> hidden_of(std::span<const int32_t> context) const {
    return values_of(context, options_.hidden_size);
  }

 private:
  std::vector<float> values_of(std::span<const int32_t> context, int64_t num_values) const {
    uint64_t state = kSeed;
    for (size_t position = 0; position < context.size(); ++position)
      state = absorb(state, static_cast<int64_t>(position), context[position], 3 * context[position] + 1);
    std::vector<float> logits(static_cast<size_t>(num_values));
    fill(state, context.back(), logits);
    return logits;
  }

  static constexpr uint64_t kSeed = 0x9e3779b97f4a7c15;

  static uint64_t mix(uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
  }
  static uint64_t absorb(uint64_t state, int64_t position, int32_t token, int32_t shadow) {
    return mix(state * 31 + static_cast<uint64_t>(position) * 1000003 + static_cast<uint64_t>(token) * 8191 +
               static_cast<uint64_t>(shadow));
  }
  void fill(uint64_t state, int32_t last_token, std::span<float> logits) const {
    for (size_t token = 0; token < logits.size(); ++token) {
      const uint64_t random = mix(state + token * kSeed) >> 40;
      logits[token] = static_cast<float>(random) * 0x1p-24f * options_.spread;
    }
    if (last_token == options_.poison_token) logits[0] = std::numeric_limits<float>::quiet_NaN();
  }

  // Layer 0 keeps (token, position) as K, layer 1 a function of the token as V.
  struct Slot {
    float* k;
    float* v;
  };
  static Slot slot(KvPool& kv, const SequenceSlice& slice, int64_t position) {
    const PageId page = slice.page_table[static_cast<size_t>(position / kPageTokens)];
    const auto in_page = static_cast<size_t>(position % kPageTokens);
    return {reinterpret_cast<float*>(kv.layer(0).k_plane(page, 0)) + in_page * 2,
            reinterpret_cast<float*>(kv.layer(1).v_plane(page, 0)) + in_page / 2 * 32 + in_page % 2};
  }
  static void write(KvPool& kv, const SequenceSlice& slice, int64_t position, int32_t token) {
    const Slot target = slot(kv, slice, position);
    target.k[0] = static_cast<float>(token);
    target.k[1] = static_cast<float>(position);
    target.v[0] = static_cast<float>(3 * token + 1);
  }
  static uint64_t hash(KvPool& kv, const SequenceSlice& slice, int64_t last_position) {
    uint64_t state = kSeed;
    for (int64_t position = 0; position <= last_position; ++position) {
      const Slot source = slot(kv, slice, position);
      state = absorb(state, static_cast<int64_t>(source.k[1]), static_cast<int32_t>(source.k[0]),
                     static_cast<int32_t>(source.v[0]));
    }
    return state;
  }

  void follow_script(KvPool& kv, const SequenceSlice& slice, int64_t last_position,
                     std::span<float> row) const {
    std::vector<int32_t> context;
    for (int64_t position = 0; position <= last_position; ++position)
      context.push_back(static_cast<int32_t>(slot(kv, slice, position).k[0]));
    if (const int32_t token = options_.script(context); token >= 0) row[static_cast<size_t>(token)] = 1e6f;
  }

  Options options_;
  ModelInfo info_;
};

}  // namespace pagoda::testing
