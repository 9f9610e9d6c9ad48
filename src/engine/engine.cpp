#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "engine/batch_builder.h"
#include "engine/batch_plan.h"
#include "engine/commit_stage.h"
#include "engine/cost_probe.h"
#include "engine/inbox.h"
#include "engine/placer.h"
#include "engine/publisher.h"
#include "engine/request_check.h"
#include "engine/roster.h"
#include "engine/sampling_stage.h"
#include "engine/stats_board.h"
#include "kv/kv_cache.h"
#include "kv/pool_committer.h"
#include "kv/pool_memory.h"
#include "nn/workspace.h"
#include "sched/step_pace.h"

namespace pagoda {

namespace {
constexpr int64_t kLongestWaitNs = int64_t{1} << 60;  // sums with times of a clock do not overflow
// Between two looks at transfers while there is nothing else to do: about what a page takes.
constexpr int64_t kTransferPauseNs = 200'000;
// Of a step's time, for memory that later ones will write: a tenth.
constexpr int64_t kCommitShare = 10;
// Of a step's bound, for what comes between its tokens and the client: a tenth.
constexpr int64_t kDeliveryShare = 10;
// At the end, for pages that the disk does not have yet: a gigabyte at a slow disk's pace.
constexpr int64_t kLongestFlushNs = 10'000'000'000;
}  // namespace

// Memory of the engine that needs a Result to take.
struct EngineMemory {
  std::unique_ptr<KvPool> kv_pool;
  std::unique_ptr<PoolMemory> pool_memory;
  std::unique_ptr<PageStore> page_store;
  Workspace workspace;
  AlignedBuffer logits;
  AlignedBuffer hidden;

  static Result<EngineMemory> allocate(const EngineConfig& config, const Engine::Parts& parts) {
    const Model& model = *parts.model;
    const BatchLimits limits = config.batch_limits();
    const size_t row_bytes = static_cast<size_t>(model.info().vocab_size) * sizeof(float);
    PAGODA_TRY(KvPool pool, KvPool::create(model.info().kv_shape, config.num_pages));
    PAGODA_TRY(Workspace workspace, Workspace::create(model.workspace_bytes(limits)));
    PAGODA_TRY(AlignedBuffer logits,
               AlignedBuffer::allocate(static_cast<size_t>(limits.max_logits_rows) * row_bytes));
    PAGODA_TRY(AlignedBuffer hidden, AlignedBuffer::allocate(hidden_bytes(config, model.info())));
    EngineMemory memory{.kv_pool = std::make_unique<KvPool>(std::move(pool)),
                        .pool_memory = nullptr,
                        .page_store = nullptr,
                        .workspace = std::move(workspace),
                        .logits = std::move(logits),
                        .hidden = std::move(hidden)};
    memory.pool_memory = std::make_unique<PoolMemory>(*memory.kv_pool);
    if (parts.open_page_store && config.prefix_cache.enabled) {
      PAGODA_TRY(memory.page_store, parts.open_page_store(*memory.pool_memory));
    }
    return memory;
  }

  // Has the system give what steps write beside KV pages: the first long chunk would wait for it otherwise.
  void commit_scratch() const {
    workspace.commit();
    logits.commit(0, logits.size());
    hidden.commit(0, hidden.size());
  }
};

class Engine::Impl {
 public:
  Impl(EngineConfig config, Parts parts, EngineMemory memory, std::unique_ptr<SchedulerPolicy> policy);
  ~Impl();

  // ---- any thread ----
  Result<RequestId> submit(Request request, std::shared_ptr<RequestSink> sink);
  int64_t retry_after_seconds() const;
  Forecast forecast(int64_t num_prompt_tokens, int64_t max_tokens) const;
  EngineStats stats() const;
  void drain(int64_t timeout_ns);

  // ---- the engine thread ----
  void measure_costs(int64_t max_ns);
  void start();
  bool step();
  void check_invariants() const { kv_.check_invariants(); }

  const EngineConfig config_;
  const Parts parts_;
  Inbox inbox_;
  StatsBoard stats_;
  std::function<void(const StepReport&)> on_step_;
  std::function<void(const MailReport&)> on_mail_;

 private:
  int64_t now_ns() const { return parts_.clock->now_ns(); }
  void run();
  // The stages of a step, in their order.
  void admit();
  void plan();
  void place();
  std::span<const SampledToken> forward_and_sample();
  ForwardContext forward_context();
  std::span<float> hidden_states();  // of the last forward pass
  void commit(std::span<const SampledToken> results);
  bool publish();

  void dequeue(RequestState& request);
  void learn(int64_t end_ns);
  double step_seconds_left() const;
  bool commit_memory(int32_t num_pages_ahead, int64_t max_ns);
  void commit_memory_while_idle();
  void record_step();
  // Writes what is worth keeping beyond this process, in a time that a disk which hangs cannot extend.
  void flush();

  std::unique_ptr<SchedulerPolicy> policy_;
  CostModel costs_;
  StepPace pace_;
  EngineMemory memory_;
  KvCache kv_;
  PoolCommitter pool_committer_;
  Roster roster_;
  BatchBuilder builder_;
  SamplingStage sampling_;
  PlanLimits plan_limits_;
  // Used again by every step.
  Inbox::Mail mail_;
  BatchPlan plan_;
  std::vector<Sequence*> exhausted_;
  Publisher publisher_;
  CommitStage commit_;
  int64_t step_start_ns_ = 0;
  int64_t step_end_ns_ = 0;       // of the last one that computed something
  int64_t late_ns_ = 0;           // of the step: what has passed since then, if it left something to do
  StepWork work_;                 // of the step, once its pages are placed
  double predicted_seconds_ = 0;  // as it usually takes
  double expected_seconds_ = 0;   // at the pace of the steps before
  double step_seconds_ = 0;       // up to the sampled tokens; 0 until then
  std::thread thread_;
};

Engine::Impl::Impl(EngineConfig config, Parts parts, EngineMemory memory,
                   std::unique_ptr<SchedulerPolicy> policy)
    : config_(std::move(config)),
      parts_(std::move(parts)),
      inbox_(config_.max_sequences + config_.max_queued_requests, config_.seed, config_.max_queued_tokens),
      stats_(config_),
      policy_(std::move(policy)),
      costs_(parts_.costs.value_or(guess_costs(parts_.model->info(), parts_.pool->num_threads()))),
      memory_(std::move(memory)),
      kv_(*memory_.kv_pool, 2 * config_.max_sequences, config_.max_context, config_.prefix_cache),
      pool_committer_(*memory_.kv_pool),
      roster_(kv_, *policy_, costs_, pace_, config_.max_sequences,
              config_.max_sequences + config_.max_queued_requests),
      builder_(config_.batch_limits()),
      sampling_(*parts_.kernels, parts_.model->info().vocab_size,
                config_.batch_limits().max_logits_rows + config_.max_sequences, parts_.pool->num_threads()),
      plan_limits_{.max_tokens = config_.max_batch_tokens,
                   .max_logits_rows = config_.batch_limits().max_logits_rows,
                   .prefill_chunk = config_.prefill_chunk,
                   .costs = &costs_},
      publisher_(config_.max_sequences, config_.max_sequences + config_.max_queued_requests),
      commit_({parts_.model->info(), *parts_.clock, costs_, kv_, roster_, stats_, publisher_}) {
  const auto max_sequences = static_cast<size_t>(config_.max_sequences);
  const size_t max_requests = max_sequences + static_cast<size_t>(config_.max_queued_requests);
  mail_.arrivals.reserve(max_requests);
  mail_.cancels.reserve(max_requests);
  mail_.flow_changes.reserve(max_requests);
  plan_.items.reserve(max_sequences);
  exhausted_.reserve(max_sequences);
  record_step();
}

Engine::Impl::~Impl() {
  inbox_.stop();
  if (thread_.joinable()) thread_.join();
  inbox_.cancel_all();
  admit();
  publish();
  flush();
}

void Engine::Impl::flush() {
  const int64_t deadline_ns = now_ns() + kLongestFlushNs;
  do {
    kv_.pump();
    if (!kv_.prefix_cache().is_writing()) return;
    memory_.page_store->wait(kTransferPauseNs);
  } while (now_ns() < deadline_ns);
  PAGODA_WARN("kv disk: it is too slow to take all pages before the end; those left will be computed again");
}

Result<RequestId> Engine::Impl::submit(Request request, std::shared_ptr<RequestSink> sink) {
  PAGODA_CHECK(sink != nullptr);
  PAGODA_TRY_STATUS(check_request(request, config_, parts_.model->info().vocab_size));
  EndRules rules{.end_tokens = request.stop_token_ids, .min_tokens = request.min_tokens};
  if (!request.ignore_eos)
    rules.end_tokens.insert(rules.end_tokens.end(), parts_.end_tokens.begin(), parts_.end_tokens.end());
  else if (request.constraint)
    rules.suppressed = parts_.end_tokens;
  rules.suppressed_early = rules.end_tokens;
  rules.suppressed_early.insert(rules.suppressed_early.end(), rules.suppressed.begin(),
                                rules.suppressed.end());
  rules.max_tokens =
      std::min(request.max_tokens, config_.max_context - static_cast<int64_t>(request.prompt.size()));
  auto state = std::make_unique<RequestState>(std::move(request), std::move(sink), std::move(rules),
                                              *parts_.tokenizer, now_ns());
  PAGODA_TRY_STATUS(state->start_constraints());
  state->prepare_embedding(parts_.model->info().hidden_size);
  return inbox_.push(std::move(state));
}

EngineStats Engine::Impl::stats() const {
  EngineStats stats = stats_.snapshot();
  const Inbox::Rejections rejections = inbox_.rejections();
  stats.rejected_queue_full = rejections.queue_full;
  stats.rejected_queued_tokens = rejections.queued_tokens;
  stats.rejected_closed = rejections.closed;
  return stats;
}

Forecast Engine::Impl::forecast(int64_t num_prompt_tokens, int64_t max_tokens) const {
  const StatsBoard::Outlook outlook = stats_.outlook();
  const CostModel costs(costs_.reach(), outlook.coefficients);
  const ScheduledSequence sequence{.max_generated = max_tokens,
                                   .prefill_seconds = costs.predict_alone({0, num_prompt_tokens, 1}),
                                   .token_seconds = costs.predict_alone({num_prompt_tokens, 1, 1})};
  return pagoda::forecast(outlook.work, policy_->class_of(sequence), sequence.prefill_seconds);
}

int64_t Engine::Impl::retry_after_seconds() const {
  constexpr double kLeast = 1;
  constexpr double kMost = 300;
  const double seconds = start_all_seconds(stats_.outlook().work);
  return static_cast<int64_t>(std::clamp(std::ceil(seconds), kLeast, kMost));
}

void Engine::Impl::measure_costs(int64_t max_ns) {
  ForwardContext context = forward_context();
  const std::span logits(reinterpret_cast<float*>(memory_.logits.data()),
                         memory_.logits.size() / sizeof(float));
  probe_costs({*parts_.model, context, logits, config_.batch_limits(), *parts_.clock}, max_ns, costs_);
  record_step();
}

void Engine::Impl::start() {
  PAGODA_CHECK(!thread_.joinable(), "the engine runs already");
  memory_.commit_scratch();
  thread_ = std::thread([this] { run(); });
}

void Engine::Impl::run() {
  while (!inbox_.stopped()) {
    if (step()) continue;
    if (kv_.prefix_cache().is_writing()) {
      inbox_.wait_for(std::chrono::nanoseconds(kTransferPauseNs));
      continue;
    }
    commit_memory_while_idle();
    if (!inbox_.wait()) return;
    parts_.pool->wake();
  }
}

void Engine::Impl::drain(int64_t timeout_ns) {
  timeout_ns = std::min(timeout_ns, kLongestWaitNs);
  inbox_.close();
  if (thread_.joinable()) {
    if (inbox_.wait_until_finished(std::chrono::nanoseconds(timeout_ns))) return;
    inbox_.cancel_all();
    while (!inbox_.wait_until_finished(std::chrono::hours(1))) {
    }
    return;
  }
  const int64_t deadline_ns = now_ns() + timeout_ns;
  while (now_ns() < deadline_ns)
    if (!step()) return;
  inbox_.cancel_all();
  step();
}

bool Engine::Impl::step() {
  step_start_ns_ = now_ns();
  admit();
  plan();
  place();
  if (!plan_.items.empty()) commit(forward_and_sample());
  if (publish()) {
    // What is ahead grows with what is used, so that short runs take little.
    commit_memory(kv_.frontier(), config_.max_step_ns / kCommitShare);
    return true;
  }
  if (!kv_.prefix_cache().is_reading()) return false;
  // All that could run waits for the disk.
  memory_.page_store->wait(kTransferPauseNs);
  return true;
}

void Engine::Impl::admit() {
  kv_.set_time(step_start_ns_);
  kv_.pump();
  inbox_.take(mail_);
  if (on_mail_ && mail_.has_any()) on_mail_({step_start_ns_, mail_});
  for (auto& request : mail_.arrivals) roster_.add(std::move(request));
  const auto cancel = [&](RequestState& request) {
    commit_.end_request(request, FinishReason::cancelled,
                        {ErrorCode::cancelled, "the request was cancelled"});
  };
  for (const RequestId id : mail_.cancels)
    if (RequestState* request = roster_.find(id)) cancel(*request);
  if (mail_.cancel_all)
    for (const auto& [id, request] : roster_.requests()) cancel(*request);
  for (const FlowChange& change : mail_.flow_changes) {
    RequestState* request = roster_.find(change.id);
    if (!request) continue;
    if (change.kind == FlowChange::Kind::park)
      roster_.park(*request);
    else
      roster_.unpark(*request);
  }
  mail_.arrivals.clear();
  mail_.cancels.clear();
  mail_.flow_changes.clear();
  mail_.cancel_all = false;
  late_ns_ = roster_.running().empty() ? 0 : step_start_ns_ - step_end_ns_;
  plan_limits_.max_seconds = step_seconds_left();
  roster_.admit(step_start_ns_, most_running(roster_.running(), plan_limits_, config_.max_sequences));
  roster_.fetch_ahead(plan_limits_.max_seconds);
  kv_.begin_reads();  // so that they come during the step
  for (Sequence* sequence : roster_.running()) dequeue(sequence->request);
}

double Engine::Impl::step_seconds_left() const {
  // A client sees from the end of one step to that of the next.
  const int64_t bound_ns = config_.max_step_ns - config_.max_step_ns / kDeliveryShare;
  const int64_t left_ns = bound_ns - std::min(late_ns_, config_.max_step_ns / 2);
  // What the model has been wrong by stays free.
  return static_cast<double>(left_ns) * 1e-9 / ((1 + costs_.margin()) * costs_.pace());
}

// False when nothing is missing.
bool Engine::Impl::commit_memory(int32_t num_pages_ahead, int64_t max_ns) {
  const int32_t end_page = kv_.frontier() + std::min(num_pages_ahead, PoolCommitter::kReservePages);
  const auto at_once = static_cast<size_t>(parts_.pool->num_threads());
  const int64_t start_ns = now_ns();
  do {
    const size_t num_pieces = std::min(pool_committer_.num_missing(end_page), at_once);
    if (num_pieces == 0) return false;
    pool_committer_.commit(num_pieces, *parts_.pool);
  } while (now_ns() - start_ns < max_ns);
  return true;
}

void Engine::Impl::commit_memory_while_idle() {
  while (!inbox_.has_mail() && commit_memory(PoolCommitter::kReservePages, 0)) {
  }
}

void Engine::Impl::dequeue(RequestState& request) {
  if (std::exchange(request.queued, false)) inbox_.on_dequeued(request.num_prompt());
}

void Engine::Impl::plan() {
  plan_batch(roster_.running(), plan_limits_, plan_);
}

void Engine::Impl::place() {
  place_batch(plan_, roster_, kv_, exhausted_);
  for (Sequence* sequence : exhausted_) commit_.end_sequence(*sequence, FinishReason::length);
  exhausted_.clear();
  work_ = step_work(plan_, costs_.reach());
  predicted_seconds_ = costs_.predict(work_);
  expected_seconds_ = predicted_seconds_ * costs_.pace();
  // Before the step, which may take long.
  for (const PlanItem& item : plan_.items)
    if (item.sequence->request.num_reported_tokens < 0)
      Publisher::tell_progress(item.sequence->request, item.first_position, step_start_ns_);
}

ForwardContext Engine::Impl::forward_context() {
  return {*parts_.pool, *parts_.kernels, *memory_.kv_pool, memory_.workspace, hidden_states()};
}

std::span<float> Engine::Impl::hidden_states() {
  return {reinterpret_cast<float*>(memory_.hidden.data()), memory_.hidden.size() / sizeof(float)};
}

std::span<const SampledToken> Engine::Impl::forward_and_sample() {
  const ForwardBatch batch = builder_.build(plan_, kv_);
  ForwardContext context = forward_context();
  const std::span logits(reinterpret_cast<float*>(memory_.logits.data()),
                         batch.logits_rows.size() * static_cast<size_t>(parts_.model->info().vocab_size));
  memory_.workspace.reset();
  parts_.model->forward(batch, context, logits);
  return sampling_.run(builder_.jobs(), builder_.rows(), logits, *parts_.pool);
}

void Engine::Impl::commit(std::span<const SampledToken> results) {
  const int64_t end_ns = now_ns();
  step_end_ns_ = end_ns;
  learn(end_ns);
  commit_.run({.items = plan_.items,
               .hidden_jobs = builder_.hidden_jobs(),
               .hidden_states = hidden_states(),
               .row_jobs = builder_.jobs(),
               .results = results,
               .work = work_,
               .start_ns = step_start_ns_,
               .end_ns = end_ns});
  if (on_step_)
    on_step_({step_start_ns_, step_seconds_, expected_seconds_, work_, costs_, end_ns, plan_.items});
}

void Engine::Impl::learn(int64_t end_ns) {
  step_seconds_ = static_cast<double>(end_ns - step_start_ns_) * 1e-9;
  pace_.add(predicted_seconds_, step_seconds_ + static_cast<double>(late_ns_) * 1e-9);
  // While pages come from a disk, steps are slower than what they compute.
  if (!kv_.prefix_cache().is_reading()) costs_.observe(work_, step_seconds_);
}

bool Engine::Impl::publish() {
  const bool worked = !plan_.items.empty() || publisher_.has_news();
  const auto finished = publisher_.finished();
  const int64_t end_ns = now_ns();
  for (const PlanItem& item : plan_.items)
    Publisher::tell_progress(item.sequence->request, item.end_position(), end_ns);
  // Numbers first: who hears of the end finds them up to date.
  record_step();
  for (const RequestState* request : finished) stats_.record_request_end(*request, end_ns);
  publisher_.publish();
  for (RequestState* request : finished) dequeue(*request);
  for (const RequestState* request : finished) roster_.erase(request->id);
  inbox_.on_finished(static_cast<int64_t>(finished.size()));
  publisher_.clear();
  plan_.items.clear();
  return worked;
}

void Engine::Impl::record_step() {
  int64_t num_prompt_tokens = 0;
  for (const PlanItem& item : plan_.items) {
    const int64_t prompt_end = std::min(item.end_position(), item.sequence->request.num_prompt());
    num_prompt_tokens += std::max<int64_t>(0, prompt_end - item.first_position);
  }
  stats_.record_step({.num_running = static_cast<int64_t>(roster_.running().size()),
                      .num_waiting = static_cast<int64_t>(roster_.waiting().size()),
                      .num_parked = roster_.num_parked(),
                      .kv_pages_used = kv_.num_pages() - kv_.num_available_pages(),
                      .prefix_cache = kv_.prefix_cache().stats(),
                      .num_tokens = work_.num_tokens,
                      .num_prompt_tokens = num_prompt_tokens,
                      .num_sampled_tokens = commit_.take_num_sampled_tokens(),
                      .num_preemptions = roster_.num_preemptions(),
                      .seconds = step_seconds_,
                      .predicted_seconds = predicted_seconds_,
                      .costs = {costs_.coefficients(), costs_.median_error(), costs_.margin(), costs_.pace()},
                      .queued_work = roster_.queued_work(plan_limits_.max_seconds)});
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(EngineConfig config, Parts parts) {
  const bool complete = parts.model && parts.tokenizer && parts.pool && parts.kernels && parts.clock;
  PAGODA_CHECK(complete, "a part is missing");
  const int64_t vocab_size = parts.model->info().vocab_size;
  std::erase_if(parts.end_tokens, [&](TokenId token) { return token < 0 || token >= vocab_size; });
  PAGODA_TRY(auto policy, make_scheduler_policy(config.policy));
  PAGODA_TRY(EngineMemory memory, EngineMemory::allocate(config, parts));
  config.prefix_cache.store = memory.page_store.get();
  return std::unique_ptr<Engine>(new Engine(
      std::make_unique<Impl>(std::move(config), std::move(parts), std::move(memory), std::move(policy))));
}

Result<RequestId> Engine::submit(Request request, std::shared_ptr<RequestSink> sink) {
  return impl_->submit(std::move(request), std::move(sink));
}
void Engine::cancel(RequestId id) {
  impl_->inbox_.cancel(id);
}
EngineStats Engine::stats() const {
  return impl_->stats();
}
void Engine::park(RequestId id) {
  impl_->inbox_.change_flow({id, FlowChange::Kind::park});
}
void Engine::resume(RequestId id) {
  impl_->inbox_.change_flow({id, FlowChange::Kind::resume});
}
Forecast Engine::forecast(int64_t num_prompt_tokens, int64_t max_tokens) const {
  return impl_->forecast(num_prompt_tokens, max_tokens);
}
int64_t Engine::retry_after_seconds() const {
  return impl_->retry_after_seconds();
}
const EngineConfig& Engine::config() const {
  return impl_->config_;
}
const ModelInfo& Engine::model_info() const {
  return impl_->parts_.model->info();
}
const Tokenizer& Engine::tokenizer() const {
  return *impl_->parts_.tokenizer;
}
std::span<const TokenId> Engine::end_tokens() const {
  return impl_->parts_.end_tokens;
}
void Engine::measure_costs(int64_t max_ns) {
  impl_->measure_costs(max_ns);
}
void Engine::on_step(std::function<void(const StepReport&)> listener) {
  impl_->on_step_ = std::move(listener);
}
void Engine::on_mail(std::function<void(const MailReport&)> listener) {
  impl_->on_mail_ = std::move(listener);
}
void Engine::start() {
  impl_->start();
}
void Engine::drain(int64_t timeout_ns) {
  impl_->drain(timeout_ns);
}
bool Engine::step() {
  return impl_->step();
}
void Engine::check_invariants() const {
  impl_->check_invariants();
}

}  // namespace pagoda
