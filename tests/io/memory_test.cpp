// Opening a file takes no more memory than the file is large (64 MiB for small ones), whatever it claims.
// Replaces operator new to see the memory.
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/model_file.h"
#include "support/gguf_writer.h"
#include "support/safetensors_writer.h"
#include "support/temp_folder.h"

namespace {

std::atomic<size_t> live_bytes{0};
std::atomic<size_t> peak_bytes{0};

}  // namespace

void* operator new(std::size_t num_bytes) {
  void* memory = std::malloc(num_bytes);
  if (memory == nullptr) throw std::bad_alloc();
  const size_t live = live_bytes += malloc_usable_size(memory);
  size_t peak = peak_bytes;
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {  // inlined, GCC takes it for a mismatch
  live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}

namespace pagoda::testing {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

// The most memory held at once while f runs, beyond what was held before.
template <class F>
size_t peak_of(F&& f) {
  const size_t before = live_bytes;
  peak_bytes = before;
  f();
  return peak_bytes - before;
}

// Whether the file was accepted, once its need of memory is checked.
bool read_within_bound(const std::string& file) {
  bool accepted = false;
  const size_t peak = peak_of([&] {
    const auto contents = parse_gguf(bytes_of(file), "x");
    accepted = contents.has_value();
    if (!accepted) {
      EXPECT_THAT(contents.error().message, ::testing::HasSubstr("than a file of"));
    }
  });
  // A vector that grows holds its old and its new contents for a moment.
  EXPECT_LT(peak, 2 * std::max(file.size(), 64 * kMiB));
  return accepted;
}

TEST(Memory, OfAFileThatClaimsMuchIsSmall) {
  constexpr uint64_t kHuge = uint64_t{1} << 60;
  GgufWriter tensors;
  tensors.set_counts(kHuge, 0);
  GgufWriter keys;
  keys.set_counts(0, kHuge);
  GgufWriter array;
  array.add_raw("k").put(GgufType::array).put(GgufType::u8).put(kHuge);
  GgufWriter strings;
  strings.add_raw("k").put(GgufType::array).put(GgufType::string).put(kHuge);
  GgufWriter text;
  text.add_raw("k").put(GgufType::string).put(kHuge);
  GgufWriter name;
  name.add_raw_tensor("t", std::vector<uint64_t>{kHuge, 2}, 0, 0);
  for (const GgufWriter* file : {&tensors, &keys, &array, &strings, &text, &name}) {
    const std::string bytes = file->bytes();
    const size_t peak = peak_of([&] { EXPECT_FALSE(parse_gguf(bytes_of(bytes), "x")); });
    EXPECT_LT(peak, 4096u);
  }
  const std::string header = safetensors_file(
      R"({"t":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,8]}})", "12345678");
  EXPECT_LT(peak_of([&] { EXPECT_FALSE(parse_safetensors(bytes_of(header), "x")); }), 8192u);
}

// One byte of the file becomes eight, one empty string, eight with its length, sixteen.
TEST(Memory, OfArraysIsBounded) {
  EXPECT_TRUE(read_within_bound(GgufWriter().add("k", std::vector<uint8_t>(7 * kMiB)).bytes()));
  EXPECT_FALSE(read_within_bound(GgufWriter().add("k", std::vector<uint8_t>(20 * kMiB)).bytes()));
  EXPECT_TRUE(read_within_bound(GgufWriter().add("k", std::vector<std::string>(kMiB)).bytes()));
  EXPECT_FALSE(read_within_bound(GgufWriter().add("k", std::vector<std::string>(5 * kMiB)).bytes()));
}

TEST(Memory, OfManySmallEntriesIsBounded) {
  GgufWriter keys;
  for (int i = 0; i < 450'000; ++i) keys.add(std::to_string(i), uint8_t{1});
  EXPECT_FALSE(read_within_bound(keys.bytes()));
  GgufWriter tensors;
  for (int i = 0; i < 200'000; ++i) tensors.add_raw_tensor(std::to_string(i), std::vector<uint64_t>{1}, 0, 0);
  EXPECT_FALSE(read_within_bound(tensors.bytes()));
}

// A vocabulary of a quarter of a million tokens, half a million merges and the tensors of a very deep model.
TEST(Memory, LeavesRoomForTheLargestModels) {
  GgufWriter file;
  file.add("tokenizer.ggml.tokens", std::vector<std::string>(262'144, "a token"));
  file.add("tokenizer.ggml.scores", std::vector<float>(262'144));
  file.add("tokenizer.ggml.token_type", std::vector<int32_t>(262'144));
  file.add("tokenizer.ggml.merges", std::vector<std::string>(514'906, "some merge"));
  for (int i = 0; i < 5'000; ++i)
    file.add_raw_tensor("blk." + std::to_string(i), std::vector<uint64_t>{8}, 0, 0);
  EXPECT_TRUE(read_within_bound(file.bytes() + std::string(32, '\0')));
}

TEST(Memory, OfASafetensorsHeaderIsBounded) {
  std::string header = "{\"t\":{\"x\":[0";
  for (size_t i = 0; i < 2 * kMiB; ++i) header += ",0";
  const std::string numbers = safetensors_file(header + "]}}", "");
  EXPECT_LT(peak_of([&] { EXPECT_FALSE(parse_safetensors(bytes_of(numbers), "x")); }), 8192u);

  std::string entries = "{";
  for (int i = 0; i < 200'000; ++i)
    entries += fmt::format(R"("{}":{{"dtype":"F16","shape":[],"data_offsets":[0,2]}},)", i);
  entries.back() = '}';
  const std::string many = safetensors_file(entries, "12");
  const size_t peak = peak_of([&] {
    const auto contents = parse_safetensors(bytes_of(many), "x");
    ASSERT_FALSE(contents);
    EXPECT_THAT(contents.error().message, ::testing::HasSubstr("describes more than a file of"));
  });
  EXPECT_LT(peak, 2 * 64 * kMiB);
}

}  // namespace
}  // namespace pagoda::testing
