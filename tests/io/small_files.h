// Well-formed files with something of everything, for tests that damage them.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "support/gguf_writer.h"
#include "support/safetensors_writer.h"
#include "support/temp_folder.h"

namespace pagoda::testing {

// num_bytes bytes that count up from `first`.
inline std::vector<std::byte> counting_bytes(size_t num_bytes, int first = 0) {
  std::vector<std::byte> bytes(num_bytes);
  for (size_t i = 0; i < num_bytes; ++i) bytes[i] = static_cast<std::byte>(first + static_cast<int>(i));
  return bytes;
}

inline GgufWriter small_gguf() {
  GgufWriter file;
  file.add("general.architecture", "llama")
      .add("a.u8", uint8_t{200})
      .add("a.i8", int8_t{-100})
      .add("a.u16", uint16_t{60000})
      .add("a.i16", int16_t{-30000})
      .add("a.u32", uint32_t{4000000000})
      .add("a.i32", int32_t{-2000000000})
      .add("a.u64", uint64_t{9000000000})
      .add("a.i64", int64_t{-9000000000})
      .add("a.f32", 0.5f)
      .add("a.f64", 0.1)
      .add("a.true", true)
      .add("a.false", false)
      .add("a.strings", std::vector<std::string>{"", "x", "a longer string with a zero \0 in it"})
      .add("a.ints", std::vector<int16_t>{-1, 0, 1})
      .add("a.floats", std::vector<float>{0.25f, -4.0f})
      .add("a.bools", std::vector<bool>{true, false, true})
      .add("a.empty", std::vector<uint64_t>{});
  file.add_tensor("token_embd.weight", DType::f32, {2, {2, 3}}, counting_bytes(24))
      .add_tensor("blk.0.q", DType::q4_0, {3, {2, 1, 64}}, counting_bytes(72, 100))
      .add_tensor("norm", DType::bf16, {1, {5}}, counting_bytes(10, 50));
  return file;
}

inline std::string small_safetensors() {
  return SafetensorsWriter()
      .add("embed", "F32", std::vector<int64_t>{2, 3}, counting_bytes(24))
      .add("norm", "BF16", std::vector<int64_t>{5}, counting_bytes(10, 100))
      .add("scale", "F16", std::vector<int64_t>{}, counting_bytes(2, 50))
      .bytes();
}

}  // namespace pagoda::testing
