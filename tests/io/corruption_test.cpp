// Damage of every kind to small files: each gives contents that lie inside the file, or one Error. Run under
// AddressSanitizer it also proves that nothing beyond the end is read: buffers have exactly the file's size.
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "fuzz/read_tensors.h"
#include "io/model_file.h"
#include "io/small_files.h"

namespace pagoda::testing {
namespace {

constexpr int kNumDamagedFiles = 20000;

// A copy on the heap of exactly that size.
struct ExactCopy {
  explicit ExactCopy(std::string_view text)
      : memory(new std::byte[text.size()]), bytes(memory.get(), text.size()) {
    std::ranges::copy(bytes_of(text), memory.get());
  }
  std::unique_ptr<std::byte[]> memory;
  std::span<const std::byte> bytes;
};

// Whether it was accepted.
template <class Parse>
bool check(std::string_view text, Parse&& parse) {
  const ExactCopy file(text);
  const auto contents = parse(file.bytes, "x");
  if (contents) {
    check_tensors(file.bytes, contents->tensors);
    return true;
  }
  EXPECT_TRUE(contents.error().message.starts_with("x: ")) << contents.error().message;
  EXPECT_LT(contents.error().message.size(), 500u);
  EXPECT_TRUE(contents.error().code == ErrorCode::corrupt || contents.error().code == ErrorCode::unsupported);
  return false;
}

// Some bits, bytes or 64-bit words of the file changed.
std::string damaged(const std::string& file, std::mt19937& random) {
  constexpr uint64_t kWords[] = {
      0, 1, 0x7fffffff, 0xffffffff, uint64_t{1} << 60, ~uint64_t{0}, uint64_t{1} << 63};
  std::string copy = file;
  const auto below = [&](size_t limit) { return random() % limit; };
  for (size_t changes = 1 + below(3); changes > 0; --changes) {
    const size_t at = below(copy.size());
    switch (below(4)) {
      case 0:
        copy[at] = static_cast<char>(copy[at] ^ (1 << below(8)));
        break;
      case 1:
        copy[at] = static_cast<char>(random());
        break;
      case 2: {
        const uint64_t word = kWords[below(std::size(kWords))];
        copy.replace(at, std::min(sizeof word, copy.size() - at), reinterpret_cast<const char*>(&word),
                     std::min(sizeof word, copy.size() - at));
        break;
      }
      default:
        copy.erase(at, 1 + below(9));
        break;
    }
  }
  return copy;
}

template <class Parse>
void check_damaged(const std::string& file, Parse&& parse, uint32_t seed) {
  std::mt19937 random(seed);
  int num_accepted = 0;
  for (int i = 0; i < kNumDamagedFiles; ++i) num_accepted += check(damaged(file, random), parse) ? 1 : 0;
  // Changes of data and of metadata values are no damage to the format; others must be found.
  EXPECT_GT(num_accepted, kNumDamagedFiles / 100);
  EXPECT_LT(num_accepted, kNumDamagedFiles * 3 / 4);
}

TEST(Corruption, EveryPrefixOfAGguf) {
  const std::string file = small_gguf().bytes();
  // The last 22 bytes are padding.
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_EQ(check(std::string_view(file).substr(0, size), parse_gguf), size >= file.size() - 22) << size;
}

TEST(Corruption, EveryPrefixOfASafetensors) {
  const std::string file = small_safetensors();
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_FALSE(check(std::string_view(file).substr(0, size), parse_safetensors)) << size;
}

TEST(Corruption, EveryBitOfAGguf) {
  const std::string file = small_gguf().bytes();
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    std::string copy = file;
    copy[bit / 8] = static_cast<char>(copy[bit / 8] ^ (1 << bit % 8));
    check(copy, parse_gguf);
  }
}

TEST(Corruption, EveryBitOfASafetensors) {
  const std::string file = small_safetensors();
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    std::string copy = file;
    copy[bit / 8] = static_cast<char>(copy[bit / 8] ^ (1 << bit % 8));
    check(copy, parse_safetensors);
  }
}

TEST(Corruption, DamagedGgufs) {
  check_damaged(small_gguf().bytes(), parse_gguf, 1);
}

TEST(Corruption, DamagedSafetensors) {
  check_damaged(small_safetensors(), parse_safetensors, 2);
}

TEST(Corruption, EveryPrefixOfAnIndexOpensOrFails) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  folder.write("a.safetensors", small_safetensors());
  const std::string index = R"({"metadata":{"total_size":36},"weight_map":{"embed":"a.safetensors"}})";
  for (size_t size = 0; size < index.size(); ++size) {
    folder.write("model.safetensors.index.json", index.substr(0, size));
    const auto model = ModelFile::open(folder.path());
    ASSERT_FALSE(model) << size;
    EXPECT_EQ(model.error().code, ErrorCode::corrupt);
  }
  folder.write("model.safetensors.index.json", index);
  EXPECT_TRUE(ModelFile::open(folder.path()));
}

}  // namespace
}  // namespace pagoda::testing
