#include "cli/loaded_model.h"
#include "cli/npy.h"
#include "cli/terminal.h"
#include "cli/token_ids.h"
#include "engine/evaluate.h"

namespace pagoda {

Status execute(const EvalLogitsArguments& arguments) {
  std::vector<int32_t> ids = arguments.ids;
  if (ids.empty()) {
    PAGODA_TRY(ids, read_ids_file(arguments.ids_file));
  }
  PAGODA_TRY(LoadedModel loaded, load_for_evaluation(arguments.model));
  const ModelInfo& info = loaded.model->info();
  const auto num_ids = static_cast<int64_t>(ids.size());
  PAGODA_TRY(const int64_t context, choose_context(arguments.model, info, num_ids));
  PAGODA_TRY(Evaluator evaluator,
             loaded.evaluator({.max_context = context, .max_tokens_per_step = arguments.chunk}));
  PAGODA_TRY(NpyWriter writer, NpyWriter::create(arguments.out, num_ids, info.vocab_size));
  Progress progress("computing");
  Status written;
  PAGODA_TRY_STATUS(evaluator.append(0, ids, 0, [&](int64_t position, std::span<const float> logits) {
    if (written) written = writer.write_row(logits);
    progress.update(static_cast<double>(position) / static_cast<double>(num_ids));
  }));
  PAGODA_TRY_STATUS(written);
  return writer.finish();
}

}  // namespace pagoda
