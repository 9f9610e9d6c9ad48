// A model in memory with what it takes to run it, without an engine: for evaluations and benchmarks.
#pragma once

#include <memory>

#include "base/result.h"
#include "base/thread_pool.h"
#include "cli/arguments.h"
#include "engine/evaluate.h"
#include "io/model_file.h"
#include "kernels/kernels.h"
#include "model/model.h"

namespace pagoda {

struct LoadedModel {
  MachineInfo machine;  // before the model was loaded
  std::unique_ptr<ModelFile> file;
  std::unique_ptr<ThreadPool> pool;
  const Kernels* kernels = nullptr;
  std::unique_ptr<Model> model;
  uint64_t memory_bytes = 0;  // the budget

  // An evaluator of this model within the budget.
  Result<Evaluator> evaluator(EvaluatorLimits limits);
};

// Finds, opens and packs the model, with a progress bar for large ones.
Result<LoadedModel> load_for_evaluation(const ModelArguments& arguments);

// Finds and opens the file only.
Result<std::unique_ptr<ModelFile>> open_model(const std::string& model);

// The context to use for at least `wanted` tokens: --max-context if given, else `wanted`. invalid_argument,
// naming the numbers, if that is less than `wanted` or more than the model's context.
Result<int64_t> choose_context(const ModelArguments& arguments, const ModelInfo& info, int64_t wanted);

}  // namespace pagoda
