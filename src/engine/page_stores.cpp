#include "engine/page_stores.h"

#include <span>
#include <string>

#include <fmt/format.h>

#include "io/file_system.h"
#include "io/model_source.h"
#include "kv/disk/disk_page_store.h"
#include "kv/page_chain.h"

namespace pagoda {

namespace {

// To be raised when a kernel's definition or the layout of a page changes.
constexpr int kKvVersion = 2;

}  // namespace

Digest kv_fingerprint(const ModelFile& file, const Model& model, FloatActivations activations) {
  const KvShape& shape = model.info().kv_shape;
  std::string text = describe_source(file);
  for (const NamedTensor& tensor : file.tensors())
    text += fmt::format("{} {} {} {}\n", tensor.name, to_string(tensor.view.dtype),
                        tensor.view.shape.to_string(), tensor.file_offset);
  text += fmt::format("{} pages of {} tokens, {} layers, {} heads, {} dims, {}, activations {}\n", kKvVersion,
                      kPageTokens, shape.num_layers, shape.num_kv_heads, shape.head_dim,
                      to_string(shape.type), static_cast<int>(activations));
  return digest(std::as_bytes(std::span(text)));
}

std::function<Result<std::unique_ptr<PageStore>>(PageMemory&)> disk_store_opener(const EngineConfig& config) {
  const DiskStoreOptions options{.folder = config.kv_disk,
                                 .bytes = config.kv_disk_bytes,
                                 .fingerprint = config.prefix_cache.fingerprint,
                                 .roots = {root_key(config.prefix_cache.fingerprint, {})}};
  return [options](PageMemory& memory) -> Result<std::unique_ptr<PageStore>> {
    return DiskPageStore::open(options, system_files(), memory);
  };
}

}  // namespace pagoda
