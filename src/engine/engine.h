// The engine: one thread steps, everybody else submits and listens. A step runs in one direction:
//   admit -> plan -> place -> build -> forward -> sample -> commit -> publish
// Only place and commit change state. For a fixed order of arrival a run is deterministic.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "engine/batch_plan.h"
#include "engine/engine_config.h"
#include "engine/engine_stats.h"
#include "engine/inbox.h"
#include "engine/request.h"
#include "kernels/kernels.h"
#include "kv/page_store.h"
#include "model/model.h"
#include "sched/cost_model.h"
#include "text/tokenizer.h"

namespace pagoda {

class Engine {
 public:
  struct Parts {
    std::unique_ptr<Model> model;
    std::shared_ptr<const Tokenizer> tokenizer;
    std::vector<TokenId>
        end_tokens;  // end a sequence unless it ignores them; the tokenizer's eos_id() need not be here
    std::unique_ptr<ThreadPool> pool;
    const Kernels* kernels = nullptr;
    std::shared_ptr<const Clock> clock;
    // Opens where full pages are kept beside memory; none: nowhere.
    std::function<Result<std::unique_ptr<PageStore>>(PageMemory&)> open_page_store = {};
    std::optional<CostModel> costs = {};  // none: guessed from the model's size
  };
  // What a step computed, and how long that took and was thought to take. Valid during the call.
  struct StepReport {
    int64_t start_ns = 0;
    double seconds = 0;
    double expected_seconds = 0;  // what the cost model predicted, at the pace of the steps before
    StepWork work;
    const CostModel& costs;  // that has seen this step
    int64_t end_ns = 0;      // when its tokens were known
    std::span<const PlanItem> items = {};
  };
  // What other threads asked for, as a step begins to heed it. Valid during the call.
  struct MailReport {
    int64_t step_start_ns = 0;
    const Inbox::Mail& mail;
  };
  // Takes all step memory (KV pool, workspace, tables) as the config says.
  static Result<std::unique_ptr<Engine>> create(EngineConfig config, Parts parts);
  ~Engine();  // stops the thread; unfinished requests end with `cancelled`

  // ---- any thread ----
  // Checks the request and puts it in the bounded inbox. invalid_argument names the parameter; a prompt that
  // does not fit the context says both numbers; overloaded when max_sequences + max_queued_requests are
  // unfinished already, when the prompts that wait would exceed max_queued_tokens (one prompt may always
  // wait), or after drain(). retry_after_seconds() says when to try again.
  Result<RequestId> submit(Request request, std::shared_ptr<RequestSink> sink);
  // The request ends within one step and its pages are free then. Unknown or finished ids are ignored.
  void cancel(RequestId id);
  // A parked request computes nothing and holds neither pages nor a place until it is resumed; then what it
  // knew is computed again. Unknown or finished ids are ignored.
  void park(RequestId id);
  void resume(RequestId id);
  EngineStats stats() const;  // a consistent copy; never waits for a step
  // How long a request for max_tokens submitted now would wait for a place, and then for its first token, if
  // the prefix cache knew nothing of its prompt. By the cost model, from what is queued as of the last step.
  Forecast forecast(int64_t num_prompt_tokens, int64_t max_tokens) const;
  // Until all that is queued will have had its turn; 1 … 300.
  int64_t retry_after_seconds() const;
  const EngineConfig& config() const;
  const ModelInfo& model_info() const;
  const Tokenizer& tokenizer() const;
  std::span<const TokenId> end_tokens() const;

  // ---- before the first step ----
  // Measures what steps cost, in forward passes of several shapes, for about max_ns. Without, the cost model
  // only learns from the steps that run.
  void measure_costs(int64_t max_ns);
  // Hears of every step that computed something, on the engine thread, when its tokens are known.
  void on_step(std::function<void(const StepReport&)> listener);
  // Hears, likewise, of requests, cancellations and the like. A run depends on these and the times of its
  // steps only, unless pages are kept on a disk.
  void on_mail(std::function<void(const MailReport&)> listener);

  // ---- the engine thread ----
  // Starts the thread that steps for ever and sleeps while there is nothing to do.
  void start();
  // Accepts no more requests; returns when all have finished or the deadline has passed (then the rest is
  // cancelled).
  void drain(int64_t timeout_ns);
  // For tests and command-line tools, instead of start(): one step on the calling thread; false if nothing to
  // do.
  bool step();
  // For tests, between steps: aborts if the KV pages do not add up. Slow.
  void check_invariants() const;

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pagoda
