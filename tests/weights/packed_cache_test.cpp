// Weights from the cache are those of the model, whatever happens to either file.
#include "weights/packed_cache.h"

#include <bit>
#include <cstring>
#include <sstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "kernels/kernels.h"
#include "support/gguf_writer.h"
#include "support/temp_folder.h"
#include "weights/weight_plan.h"

namespace pagoda::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr DType kTypes[] = {DType::f32,  DType::f16,  DType::bf16, DType::q4_0,  DType::q4_1,
                            DType::q5_0, DType::q5_1, DType::q8_0, DType::q2_k,  DType::q3_k,
                            DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl};
constexpr int64_t kRows = 200;  // no whole number of groups
constexpr int64_t kCols = 2048;

std::vector<std::byte> some_bytes(size_t size, uint64_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::byte>(seed >> 56);
  }
  return bytes;
}

// A matrix of every type, a vector of odd size and a table. Of bf16 there are two: one whose exponents do not
// fit a palette, and one of few exponents.
void write_model(const std::string& path, uint64_t seed = 1) {
  GgufWriter gguf;
  for (const DType dtype : kTypes)
    gguf.add_tensor(to_string(dtype), dtype, {2, {kRows, kCols}},
                    some_bytes(kRows * row_bytes(dtype, kCols), ++seed));
  std::vector<std::byte> few = some_bytes(kRows * row_bytes(DType::bf16, kCols), ++seed);
  for (size_t i = 1; i < few.size(); i += 2) few[i] &= std::byte{0x87};
  gguf.add_tensor("few exponents", DType::bf16, {2, {kRows, kCols}}, few);
  gguf.add_tensor("norm", DType::f32, {1, {5}}, some_bytes(20, ++seed));
  gguf.write(path);
}

// Warnings while it lives.
class Warnings {
 public:
  Warnings() : before_(spdlog::default_logger()) {
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(stream_)));
    spdlog::set_level(spdlog::level::warn);
  }
  ~Warnings() { spdlog::set_default_logger(before_); }
  std::string text() const { return stream_.str(); }

 private:
  std::ostringstream stream_;
  std::shared_ptr<spdlog::logger> before_;
};

class PackedCacheTest : public ::testing::Test {
 protected:
  struct Loaded {
    std::vector<std::byte> bytes;
    std::string warnings;
  };
  PackedCacheTest() { write_model(model_); }

  // `offset`: of the norm, part of the plan.
  Loaded load(const std::string& cache, float offset = 0.0f) {
    const Warnings warnings;
    auto file = ModelFile::open(model_);
    if (!file) throw std::runtime_error(file.error().message);
    WeightPlan plan(**file);
    std::array<LinearWeight, std::size(kTypes) + 1> matrices;
    const float* norm = nullptr;
    RowTable table;
    for (size_t i = 0; i < matrices.size(); ++i) {
      const std::string name(i < std::size(kTypes) ? to_string(kTypes[i]) : "few exponents");
      check(plan.add_linear({.weight = name, .num_rows = kRows, .num_cols = kCols}, matrices[i]));
    }
    check(plan.add_vector({"norm", 5, {}, offset}, norm));
    check(plan.add_rows("q4_0", kRows, kCols, table));
    auto memory = plan.load(kernels_for(Isa::scalar).linear, pool_, {}, cache);
    if (!memory) throw std::runtime_error(memory.error().message);
    for (const LinearWeight& matrix : matrices) {
      EXPECT_TRUE(points_into(*memory, matrix.matrix.data));
      EXPECT_EQ(matrix.matrix.packing, &matrix == &matrices.back() ? Packing::palette : Packing::plain);
    }
    EXPECT_TRUE(points_into(*memory, norm));
    EXPECT_EQ(table.stored, (*file)->find("q4_0")->view.data.data());
    return {{memory->data(), memory->data() + memory->size()}, warnings.text()};
  }
  // Loads with a cache of no use: it must be named in one warning, not be used, and be rewritten.
  void expect_ignored(const std::string& reason) {
    const Loaded loaded = load(cache_);
    EXPECT_EQ(loaded.bytes, load("").bytes) << reason;
    EXPECT_THAT(loaded.warnings, HasSubstr(cache_));
    EXPECT_THAT(loaded.warnings, HasSubstr(reason));
    EXPECT_EQ(std::ranges::count(loaded.warnings, '\n'), 1) << loaded.warnings;
    expect_used();
  }
  // The file must give what packing gives, without a warning and without being written again.
  void expect_used() {
    const fs::file_time_type time = fs::last_write_time(cache_);
    const Loaded loaded = load(cache_);
    EXPECT_EQ(loaded.bytes, load("").bytes);
    EXPECT_EQ(loaded.warnings, "");
    EXPECT_EQ(fs::last_write_time(cache_), time);
  }
  void overwrite(const std::string& path, size_t at, std::string_view bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << bytes;
  }
  static void check(const Status& status) {
    if (!status) throw std::runtime_error(status.error().message);
  }
  static bool points_into(const AlignedBuffer& memory, const void* pointer) {
    const auto* byte = static_cast<const std::byte*>(pointer);
    return byte >= memory.data() && byte < memory.data() + memory.size();
  }

  TempFolder folder_;
  std::string model_ = folder_.file("model.gguf");
  std::string cache_ = folder_.file("model.gguf.packed");
  ThreadPool pool_{2};
};

TEST_F(PackedCacheTest, AModelFileThatWasShortenedIsAnError) {
  auto file = ModelFile::open(model_);
  ASSERT_TRUE(file) << file.error().message;
  WeightPlan plan(**file);
  LinearWeight matrix;
  check(plan.add_linear({.weight = "iq4_nl", .num_rows = kRows, .num_cols = kCols}, matrix));
  fs::resize_file(model_, fs::file_size(model_) / 2);
  const auto memory = plan.load(kernels_for(Isa::scalar).linear, pool_, {});
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, ErrorCode::io);
  EXPECT_THAT(memory.error().message, HasSubstr(model_));
  EXPECT_THAT(memory.error().message, HasSubstr("shortened"));
}

TEST_F(PackedCacheTest, TablesAreReadInTheFileWithoutItsModelFile) {
  auto file = ModelFile::open(model_);
  ASSERT_TRUE(file) << file.error().message;
  WeightPlan plan(**file);
  RowTable table;
  check(plan.add_rows("q4_0", kRows, kCols, table));
  const auto memory = plan.load(kernels_for(Isa::scalar).linear, pool_, {});
  ASSERT_TRUE(memory) << memory.error().message;
  EXPECT_EQ(memory->size(), 0u);
  std::vector<float> before(kCols, 1.5f);
  table.read_row(kRows - 1, before);
  const auto files = plan.files_of_tables();
  file->reset();
  fs::remove(model_);
  std::vector<float> after(kCols);
  table.read_row(kRows - 1, after);
  EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(after)), std::as_bytes(std::span(before))));
}

TEST_F(PackedCacheTest, SameBytesWithAndWithout) {
  const Loaded packed = load("");
  EXPECT_FALSE(fs::exists(cache_));
  const Loaded first = load(cache_);
  EXPECT_EQ(first.bytes, packed.bytes);
  EXPECT_EQ(first.warnings, "");
  EXPECT_FALSE(fs::exists(cache_ + ".partial"));
  expect_used();
}

// A cache of the right id with other bytes shows that it is the cache that is read.
// Whichever packing the instruction set of the process that made it prefers.
TEST_F(PackedCacheTest, OfAnotherPackingOfBf16) {
  for (const Packing wanted : {Packing::palette, Packing::plain}) {
    const std::string cache = folder_.file(wanted == Packing::plain ? "plain.packed" : "palette.packed");
    for (const Packing packing : {wanted, wanted == Packing::plain ? Packing::palette : Packing::plain}) {
      const Warnings warnings;
      auto file = ModelFile::open(model_);
      ASSERT_TRUE(file) << file.error().message;
      WeightPlan plan(**file, FloatActivations::f32, packing);
      LinearWeight matrix;
      check(plan.add_linear({.weight = "few exponents", .num_rows = kRows, .num_cols = kCols}, matrix));
      const auto memory = plan.load(kernels_for(Isa::scalar).linear, pool_, {}, cache);
      ASSERT_TRUE(memory) << memory.error().message;
      EXPECT_EQ(matrix.matrix.packing, wanted);
      EXPECT_EQ(warnings.text(), "");
    }
  }
}

TEST_F(PackedCacheTest, OfOutlinesAndDetails) {
  for (const std::string dtype : {"q8_0", "q6_k"}) {
    const std::string cache = folder_.file(dtype + ".packed");
    // The bits of all weights are added to `rows`; the warnings are returned.
    const auto load = [&](bool outline, std::vector<uint32_t>& rows) {
      const Warnings warnings;
      auto file = ModelFile::open(model_);
      EXPECT_TRUE(file);
      WeightPlan plan(**file);
      LinearWeight matrix;
      check(plan.add_linear({.weight = dtype, .num_rows = kRows, .num_cols = kCols, .outline = outline},
                            matrix));
      const auto memory = plan.load(kernels_for(Isa::scalar).linear, pool_, {}, cache);
      EXPECT_TRUE(memory);
      EXPECT_EQ(matrix.matrix.packing, outline ? Packing::outline : Packing::plain);
      EXPECT_EQ(points_into(*memory, matrix.matrix.details), outline);
      const RowTable table = {.num_rows = kRows, .num_cols = kCols, .packed = matrix.matrix};
      std::vector<float> values(kCols);
      for (int64_t row = 0; row < kRows; ++row) {
        table.read_row(row, values);
        for (const float value : values) rows.push_back(std::bit_cast<uint32_t>(value));
      }
      return warnings.text();
    };
    std::vector<uint32_t> plain;
    EXPECT_EQ(load(false, plain), "");
    std::vector<uint32_t> packed;
    EXPECT_THAT(load(true, packed), HasSubstr("made from something else"));
    std::vector<uint32_t> read;
    EXPECT_EQ(load(true, read), "");
    EXPECT_TRUE(packed == plain);
    EXPECT_TRUE(read == plain);
  }
}

TEST_F(PackedCacheTest, TheCacheIsWhatIsRead) {
  const Loaded first = load(cache_);
  const std::string header = read_file(cache_).substr(0, 64);
  BlockFileId id;
  std::memcpy(&id.version, header.data() + 12, sizeof id.version);
  std::memcpy(&id.source, header.data() + 16, sizeof id.source);
  EXPECT_EQ(id.version, kPackedLayoutVersion);
  const std::vector<std::byte> others = some_bytes(first.bytes.size(), 99);
  const auto note = read_block_file_note(cache_, id);
  ASSERT_TRUE(note) << note.error().message;
  check(write_block_file(cache_, id, *note, others, 1));
  EXPECT_EQ(load(cache_).bytes, others);
}

TEST_F(PackedCacheTest, DamagedOrCutShort) {
  load(cache_);
  const std::string whole = read_file(cache_);
  for (const size_t size : {size_t{0}, size_t{4096}, whole.size() / 2, whole.size() - 1}) {
    folder_.write("model.gguf.packed", whole.substr(0, size));
    expect_ignored("cut short");
  }
  const std::string damage(1, static_cast<char>(~whole[whole.size() - 100]));
  overwrite(cache_, whole.size() - 100, damage);
  expect_ignored("is damaged");
  folder_.write("model.gguf.packed", std::string(10000, 'x'));
  expect_ignored("another kind");
}

TEST_F(PackedCacheTest, AnotherModelOfTheSameForm) {
  load(cache_);
  fs::remove(model_);
  write_model(model_, 1000);
  expect_ignored("made from something else");
}

// One byte of one tensor, with the time of modification set back.
TEST_F(PackedCacheTest, AModelChangedInPlace) {
  load(cache_);
  struct stat before{};
  ASSERT_EQ(stat(model_.c_str(), &before), 0);
  const size_t at = static_cast<size_t>(before.st_size) - 5000;
  const std::string changed(1, static_cast<char>(~read_file(model_)[at]));
  overwrite(model_, at, changed);
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, model_.c_str(), times, 0), 0);
  expect_ignored("made from something else");
}

TEST_F(PackedCacheTest, AnotherPlan) {
  load(cache_);
  const Loaded other = load(cache_, 1.0f);
  EXPECT_EQ(other.bytes, load("", 1.0f).bytes);
  EXPECT_THAT(other.warnings, HasSubstr("made from something else"));
}

TEST_F(PackedCacheTest, AFolderThatCannotBeWritten) {
  const Loaded packed = load("");
  for (const std::string& folder : {folder_.file("none"), std::string("/proc/self")}) {
    const Loaded loaded = load(folder + "/x.packed");
    EXPECT_EQ(loaded.bytes, packed.bytes);
    EXPECT_THAT(loaded.warnings, HasSubstr(folder + "/x.packed"));
    EXPECT_EQ(std::ranges::count(loaded.warnings, '\n'), 1) << loaded.warnings;
  }
}

TEST_F(PackedCacheTest, WhatAKilledWriterLeft) {
  folder_.write("model.gguf.packed.partial", "half");
  EXPECT_EQ(load(cache_).warnings, "");
  EXPECT_FALSE(fs::exists(cache_ + ".partial"));
  expect_used();
}

TEST_F(PackedCacheTest, PlacesOfTheFile) {
  auto file = ModelFile::open(model_);
  ASSERT_TRUE(file);
  EXPECT_EQ(packed_cache_path(**file, ""), cache_);
  const std::string elsewhere = packed_cache_path(**file, "/some/folder");
  EXPECT_THAT(elsewhere, ::testing::MatchesRegex("/some/folder/model\\.gguf-[0-9a-f]+\\.packed"));
  fs::create_directory(folder_.file("other"));
  fs::copy_file(model_, folder_.file("other/model.gguf"));
  auto copy = ModelFile::open(folder_.file("other/model.gguf"));
  ASSERT_TRUE(copy);
  EXPECT_NE(packed_cache_path(**copy, "/some/folder"), elsewhere);
}

}  // namespace
}  // namespace pagoda::testing
