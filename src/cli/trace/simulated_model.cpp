#include "cli/trace/simulated_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/kernels.h"
#include "text/tokenizer.h"

namespace pagoda {

namespace {

class SilentTokenizer final : public Tokenizer {
 public:
  explicit SilentTokenizer(int64_t vocab_size) : vocab_size_(vocab_size) {}
  int64_t vocab_size() const override { return vocab_size_; }
  Result<std::vector<TokenId>> encode(std::string_view, Specials) const override {
    return fail(ErrorCode::unsupported, "simulated tokens have no text");
  }
  void append_bytes(TokenId, std::string&) const override {}
  bool is_special(TokenId) const override { return false; }
  TokenId bos_id() const override { return -1; }
  TokenId eos_id() const override { return -1; }
  TokenId pad_id() const override { return -1; }
  bool adds_bos() const override { return false; }
  std::string token_text(TokenId) const override { return {}; }
  TokenId find_token(std::string_view) const override { return -1; }

 private:
  const int64_t vocab_size_;
};

}  // namespace

SimulatedModel::SimulatedModel(int64_t max_context, int64_t vocab_size, double attention_share,
                               OnForward on_forward)
    : on_forward_(std::move(on_forward)) {
  info_.architecture = "simulated";
  info_.vocab_size = vocab_size;
  info_.max_context = max_context;
  info_.hidden_size = 1;
  info_.kv_shape = {.num_layers = 1, .num_kv_heads = 1, .head_dim = 2, .type = KvType::bf16};
  info_.num_query_heads = 1;
  // The engine takes the share as 2 * layers * hidden_size / parameters.
  info_.num_parameters = std::llround(2 / std::clamp(attention_share, 1e-12, 1.0));
  info_.layer_windows = {0};
}

void SimulatedModel::forward(const ForwardBatch& batch, ForwardContext&, std::span<float> logits) noexcept {
  std::ranges::fill(logits, 0.0f);
  on_forward_(batch, logits);
}

Engine::Parts simulated_parts(std::unique_ptr<SimulatedModel> model, std::shared_ptr<const Clock> clock,
                              CostModel costs) {
  const int64_t vocab_size = model->info().vocab_size;
  return {.model = std::move(model),
          .tokenizer = std::make_shared<SilentTokenizer>(vocab_size),
          .end_tokens = {},
          .pool = std::make_unique<ThreadPool>(1),
          .kernels = &kernels_for(Isa::scalar),
          .clock = std::move(clock),
          .costs = std::move(costs)};
}

}  // namespace pagoda
