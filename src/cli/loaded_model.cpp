#include "cli/loaded_model.h"

#include "cli/model_path.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "model/load_model.h"

namespace pagoda {

Result<std::unique_ptr<ModelFile>> open_model(const std::string& model) {
  PAGODA_TRY(const std::string path, find_model(model, model_cache_folder()));
  return ModelFile::open(path);
}

Result<LoadedModel> load_for_evaluation(const ModelArguments& arguments) {
  init_logging(arguments.log_level.value_or(LogLevel::warning));
  LoadedModel loaded;
  loaded.machine = inspect_machine();
  PAGODA_TRY(const Isa isa, choose_isa(loaded.machine.cpu, forced_isa()));
  PAGODA_TRY(const Resources resources, resolve_resources(engine_options(arguments), loaded.machine));
  loaded.kernels = &kernels_for(isa);
  PAGODA_TRY(loaded.file, open_model(arguments.model));
  loaded.pool = std::make_unique<ThreadPool>(resources.num_threads);
  LoadOptions options;
  options.kv_type = arguments.kv_type;
  options.float_activations = arguments.float_activations;
  options.packed_cache = arguments.packed_cache;
  options.min_screened_weights = arguments.min_screened_weights;
  options.max_weight_bytes = resources.memory_bytes;
  loaded.memory_bytes = resources.memory_bytes;
  Progress progress("loading");
  options.progress = &Progress::callback;
  options.progress_context = &progress;
  PAGODA_TRY(loaded.model, load_model(*loaded.file, *loaded.kernels, *loaded.pool, options));
  return loaded;
}

Result<Evaluator> LoadedModel::evaluator(EvaluatorLimits limits) {
  limits.memory_bytes = memory_bytes;
  return Evaluator::create(*model, *kernels, *pool, limits);
}

Result<int64_t> choose_context(const ModelArguments& arguments, const ModelInfo& info, int64_t wanted) {
  const int64_t most = arguments.max_context > 0 ? arguments.max_context : info.max_context;
  if (most > info.max_context)
    return fail(ErrorCode::invalid_argument, "--max-context is {}, but the model was made for {} tokens",
                most, info.max_context);
  if (wanted > most)
    return fail(ErrorCode::invalid_argument, "{} tokens are wanted, but the context holds {}{}", wanted, most,
                most < info.max_context ? "; raise --max-context" : "");
  return wanted;
}

}  // namespace pagoda
