#include "tensor/dtype.h"

#include <array>

#include "base/check.h"

namespace pagoda {

namespace {
constexpr std::array<DTypeInfo, 14> kInfos = {{
    {"f32", 0, 1, 4},
    {"f16", 1, 1, 2},
    {"bf16", 30, 1, 2},
    {"q4_0", 2, 32, 18},
    {"q4_1", 3, 32, 20},
    {"q5_0", 6, 32, 22},
    {"q5_1", 7, 32, 24},
    {"q8_0", 8, 32, 34},
    {"q2_k", 10, 256, 84},
    {"q3_k", 11, 256, 110},
    {"q4_k", 12, 256, 144},
    {"q5_k", 13, 256, 176},
    {"q6_k", 14, 256, 210},
    {"iq4_nl", 20, 32, 18},
}};
}  // namespace

const DTypeInfo& info(DType dtype) {
  return kInfos[static_cast<size_t>(dtype)];
}

std::optional<DType> dtype_from_ggml_id(uint32_t id) {
  for (size_t i = 0; i < kInfos.size(); ++i)
    if (kInfos[i].ggml_id == id) return static_cast<DType>(i);
  return std::nullopt;
}

size_t row_bytes(DType dtype, size_t num_elements) {
  const DTypeInfo& type = info(dtype);
  PAGODA_CHECK(num_elements % type.block_len == 0, "{} elements of {}", num_elements, type.name);
  return num_elements / type.block_len * type.block_bytes;
}

}  // namespace pagoda
