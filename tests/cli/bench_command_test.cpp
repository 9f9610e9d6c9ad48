// `pagoda bench …` on the tiny model: forms and identities, no timings.
#include <gtest/gtest.h>
#include <boost/json.hpp>
#include <map>

#include "program.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

std::vector<json::value> bench(std::vector<std::string> words) {
  words.insert(words.begin(), "bench");
  words.insert(words.end(), {"--model", tiny_model(), "--threads", "2", "--json"});
  const ProgramResult result = run_program(words);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return parse_lines(result.out);
}

void expect_measurement(const json::value& line, const std::string& name) {
  EXPECT_EQ(line.at("bench").as_string(), name);
  const json::value& speed = line.at("tokens_per_second");
  const auto min = speed.at("min").to_number<double>();
  const auto median = speed.at("median").to_number<double>();
  const auto max = speed.at("max").to_number<double>();
  EXPECT_GT(min, 0);
  EXPECT_LE(min, median);
  EXPECT_LE(median, max);
  EXPECT_EQ(line.at("threads").as_int64(), 2);
  EXPECT_FALSE(line.at("isa").as_string().empty());
  EXPECT_GT(line.at("machine").at("read_gigabytes_per_second").to_number<double>(), 0);
  EXPECT_GT(line.at("machine").at("int8_gigaops_per_second").to_number<double>(), 0);
}

TEST(Bench, PrefillDecodeAndBatchGiveOneLineAMeasurement) {
  const auto prefill = bench({"prefill", "--tokens", "8,32", "--repeat", "3", "--chunk", "16"});
  ASSERT_EQ(prefill.size(), 2u);
  const auto decode = bench({"decode", "--tokens", "8", "--depth", "20", "--repeat", "2"});
  ASSERT_EQ(decode.size(), 1u);
  const auto batch = bench({"batch", "--tokens", "4", "--sequences", "1,3", "--repeat", "1", "--depth", "5"});
  ASSERT_EQ(batch.size(), 2u);
  for (const auto& [lines, name] : {std::pair(&prefill, "prefill"), {&decode, "decode"}, {&batch, "batch"}}) {
    for (const json::value& line : *lines) {
      expect_measurement(line, name);
      for (const char* member : {"bytes_per_token", "operations_per_token", "gigabytes_per_second",
                                 "bandwidth_share", "arithmetic_share", "limit_share", "resident_bytes"})
        EXPECT_GT(line.at(member).to_number<double>(), 0) << member;
      EXPECT_EQ(line.at("arithmetic_peak").as_string(), "f32");  // the tiny model's weights are bf16
    }
  }
  EXPECT_EQ(batch[1].at("sequences").as_int64(), 3);
  EXPECT_LT(batch[1].at("bytes_per_token").to_number<double>(),
            batch[0].at("bytes_per_token").to_number<double>());
}

TEST(Bench, DepthsAscendAndShareTheFill) {
  const auto lines = bench({"decode", "--tokens", "4", "--depth", "40,8", "--repeat", "1"});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].at("depth").as_int64(), 8);
  EXPECT_EQ(lines[1].at("depth").as_int64(), 40);
  for (const char* member : {"bytes_per_token", "operations_per_token", "fill_seconds"})
    EXPECT_LT(lines[0].at(member).to_number<double>(), lines[1].at(member).to_number<double>()) << member;
  EXPECT_GT(lines[1].at("resident_bytes").as_int64(), 0);
}

TEST(Bench, KernelsNeedNoModel) {
  const ProgramResult result =
      run_program({"bench", "kernels", "--seconds", "0.1", "--formats", "q4_k,bf16", "--depth", "64",
                   "--working-set", "32MiB", "--threads", "2", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::map<std::string, int> counts;
  for (const json::value& line : parse_lines(result.out)) {
    const std::string kernel(line.at("kernel").as_string());
    ++counts[kernel];
    for (const char* member : {"gigabytes_per_second", "bandwidth_share", "limit_share"})
      EXPECT_GT(line.at(member).to_number<double>(), 0) << kernel << " " << member;
    if (kernel != "linear") continue;
    const json::value& cost = line.at("relative_to_one_row");
    EXPECT_LE(cost.at("min").to_number<double>(), cost.at("max").to_number<double>());
    if (line.at("rows").as_int64() == 1) {
      EXPECT_EQ(cost.at("median").to_number<double>(), 1);
    }
  }
  EXPECT_EQ(counts, (std::map<std::string, int>{{"linear", 14}, {"attention", 10}, {"row", 6}}));
}

TEST(Bench, LoadTellsTimeAndMemory) {
  const auto lines = bench({"load", "--cache", "warm", "--repeat", "2", "--context", "64"});
  ASSERT_EQ(lines.size(), 1u);
  const json::value& line = lines.front();
  EXPECT_EQ(line.at("bench").as_string(), "load");
  EXPECT_EQ(line.at("cache").as_string(), "warm");
  EXPECT_EQ(line.at("context").as_int64(), 64);
  for (const char* member : {"file_bytes", "weight_bytes", "kv_bytes", "limit_share", "gigabytes_per_second",
                             "anonymous_resident_bytes"})
    EXPECT_GT(line.at(member).to_number<double>(), 0) << member;
  EXPECT_GT(line.at("first_token_seconds").at("min").to_number<double>(),
            line.at("load_seconds").at("min").to_number<double>());
  EXPECT_GE(line.at("peak_resident_bytes").as_int64(), line.at("resident_bytes").as_int64());
}

TEST(Bench, TheKvCacheChangesNoText) {
  const auto lines = bench({"kv-cache", "--tokens", "16,48", "--prompt", "Hello"});
  ASSERT_EQ(lines.size(), 2u);
  for (const json::value& line : lines) {
    expect_measurement(line, "kv-cache");
    EXPECT_TRUE(line.at("identical").as_bool());
    EXPECT_GT(line.at("ratio").to_number<double>(), 0);
  }
  const std::string shorter(lines[0].at("text").as_string());
  EXPECT_FALSE(shorter.empty());
}

TEST(Bench, PrintsATableForPeople) {
  const ProgramResult result = run_program(
      {"bench", "decode", "--model", tiny_model(), "--tokens", "4", "--repeat", "1", "--threads", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("tokens/s"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find('\x1b'), std::string::npos) << "colours only on a terminal";
}

TEST(Bench, RefusesWhatDoesNotFit) {
  expect_one_sentence(
      run_program({"bench", "decode", "--model", tiny_model(), "--tokens", "500", "--depth", "500"}),
      "1000 tokens");
}

TEST(Bench, PrefixCacheCostsAreOfTreesThatLarge) {
  const ProgramResult result =
      run_program({"bench", "prefix-cache", "--nodes", "10000,20000", "--steps", "20", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto lines = parse_lines(result.out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_GE(lines[0].at("nodes").as_int64(), 10000);
  EXPECT_GE(lines[1].at("nodes").as_int64(), 20000);
  for (const json::value& line : lines)
    for (const char* member : {"look_up_us", "insert_us", "decode_us", "release_us"})
      EXPECT_LT(line.at(member).to_number<double>(), line.at("all_p99_us").to_number<double>()) << member;
}

}  // namespace
}  // namespace pagoda::testing
