#include "cli/command_line.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

std::expected<Command, int> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "pagoda");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

TEST(CommandLine, BenchesHaveDefaultsAndLists) {
  const auto decode = parse({"bench", "decode", "--model", "m", "--depth", "0,4096", "--tokens", "8,16"});
  ASSERT_TRUE(decode);
  EXPECT_EQ(std::get<BenchArguments>(*decode).depths, (std::vector<int64_t>{0, 4096}));
  EXPECT_EQ(std::get<BenchArguments>(*decode).tokens, (std::vector<int64_t>{8, 16}));
  const auto prefill = parse({"bench", "prefill", "--model", "m"});
  ASSERT_TRUE(prefill);
  EXPECT_EQ(std::get<BenchArguments>(*prefill).depths, std::vector<int64_t>{0});

  const auto all = parse({"bench", "kernels"});
  ASSERT_TRUE(all);
  EXPECT_EQ(std::get<BenchKernelsArguments>(*all).formats.front(), LinearFormat{DType::q4_k});
  EXPECT_EQ(std::get<BenchKernelsArguments>(*all).formats.size(), 17u);
  EXPECT_EQ(std::get<BenchKernelsArguments>(*all).seconds, 10);
  EXPECT_EQ(std::get<BenchKernelsArguments>(*all).working_set_bytes, uint64_t{256} << 20);
  const auto some = parse({"bench", "kernels", "--formats", "q8_0,bf16_bf16,palette_bf16", "--seconds", "0.5",
                           "-t", "3", "--json"});
  ASSERT_TRUE(some);
  EXPECT_EQ(std::get<BenchKernelsArguments>(*some).formats,
            (std::vector{LinearFormat{DType::q8_0}, LinearFormat{DType::bf16, FloatActivations::bf16},
                         LinearFormat{DType::bf16, FloatActivations::bf16, Packing::palette}}));
  EXPECT_EQ(std::get<BenchKernelsArguments>(*some).seconds, 0.5);
  EXPECT_EQ(std::get<BenchKernelsArguments>(*some).num_threads, 3);
  EXPECT_TRUE(std::get<BenchKernelsArguments>(*some).json);

  const auto load = parse({"bench", "load", "--model", "m"});
  ASSERT_TRUE(load);
  EXPECT_EQ(std::get<BenchLoadArguments>(*load).caches, (std::vector{FileCache::warm, FileCache::cold}));
  const auto cold = parse({"bench", "load", "--model", "m", "--cache", "cold", "--context", "4096"});
  ASSERT_TRUE(cold);
  EXPECT_EQ(std::get<BenchLoadArguments>(*cold).caches, std::vector{FileCache::cold});
  EXPECT_EQ(std::get<BenchLoadArguments>(*cold).context, 4096);
}

TEST(CommandLine, ReadsEngineOptions) {
  const auto command =
      parse({"run", "--model", "m.gguf", "--threads", "3", "--memory", "2GiB", "--kv-type", "f32",
             "--max-context", "99", "--log-level", "debug", "--chat", "--seed", "7", "hello there"});
  ASSERT_TRUE(command);
  const auto& run = std::get<RunArguments>(*command);
  EXPECT_EQ(run.model.model, "m.gguf");
  EXPECT_EQ(run.model.num_threads, 3);
  EXPECT_EQ(run.model.memory_bytes, uint64_t{2} << 30);
  EXPECT_EQ(run.model.kv_type, KvType::f32);
  EXPECT_EQ(run.model.max_context, 99);
  EXPECT_EQ(run.model.log_level, LogLevel::debug);
  EXPECT_EQ(run.sampling.seed, 7u);
  EXPECT_FALSE(run.sampling.temperature);
  EXPECT_TRUE(run.chat);
  EXPECT_EQ(run.prompt, "hello there");
}

TEST(CommandLine, ReadsTypesOfTheKvCache) {
  const auto type_of = [](const char* name) {
    const auto command = parse({"eval", "perplexity", "-m", "m", "--file", "f", "--kv-type", name});
    return std::get<EvalPerplexityArguments>(command.value()).model.kv_type;
  };
  EXPECT_EQ(type_of("auto"), std::nullopt);
  EXPECT_EQ(type_of("bf16"), KvType::bf16);
  EXPECT_EQ(type_of("int8"), KvType::int8);
  auto command = parse({"eval", "perplexity", "-m", "m", "--file", "f"});
  EXPECT_EQ(std::get<EvalPerplexityArguments>(command.value()).reference_kv_type, std::nullopt);
  command = parse({"eval", "perplexity", "-m", "m", "--file", "f", "--reference-kv-type", "int8"});
  EXPECT_EQ(std::get<EvalPerplexityArguments>(command.value()).reference_kv_type, KvType::int8);
  EXPECT_EQ(parse({"eval", "perplexity", "-m", "m", "--file", "f", "--reference-kv-type", "auto"}).error(),
            kExitUsage);
}

TEST(CommandLine, ReadsListsAndKeepsDefaults) {
  auto command = parse({"bench", "batch", "-m", "m", "--sequences", "1,8", "--tokens", "32"});
  ASSERT_TRUE(command);
  EXPECT_EQ(std::get<BenchArguments>(*command).sequences, (std::vector<int32_t>{1, 8}));
  EXPECT_EQ(std::get<BenchArguments>(*command).tokens, (std::vector<int64_t>{32}));
  command = parse({"bench", "kv-cache", "-m", "m"});
  ASSERT_TRUE(command);
  EXPECT_EQ(std::get<BenchArguments>(*command).tokens, (std::vector<int64_t>{64, 128, 256, 512}));
  command = parse({"eval", "generate", "-m", "m", "--ids", "5, 6,7", "--max-tokens", "4", "--json"});
  ASSERT_TRUE(command);
  EXPECT_EQ(std::get<EvalGenerateArguments>(*command).ids, (std::vector<int32_t>{5, 6, 7}));
  command = parse({"inspect", "m", "--json"});
  ASSERT_TRUE(command);
  EXPECT_EQ(std::get<InspectArguments>(*command).model, "m");
}

TEST(CommandLine, HelpAndVersionSucceed) {
  for (const char* option : {"--help", "--version"}) EXPECT_EQ(parse({option}).error(), kExitOk);
  for (const char* name : {"serve", "run", "chat", "inspect", "bench", "eval"})
    EXPECT_EQ(parse({name, "--help"}).error(), kExitOk) << name;
}

TEST(CommandLine, RefusesWrongUsage) {
  const std::vector<std::vector<const char*>> cases = {
      {},
      {"fly"},
      {"run", "hello"},
      {"run", "--model", "m"},
      {"run", "--model", "m", "--memory", "lots", "x"},
      {"run", "--model", "m", "--threads", "0", "x"},
      {"run", "--model", "m", "--kv-type", "int3", "x"},
      {"run", "--model", "m", "--temperature", "-1", "x"},
      {"run", "--model", "m", "--system", "s", "x"},
      {"bench"},
      {"bench", "decode", "--model", "m", "--tokens", "0"},
      {"eval", "logits", "--model", "m", "--out", "o"},
      {"eval", "logits", "--model", "m", "--out", "o", "--ids", "1,x"},
      {"eval", "logits", "--model", "m", "--out", "o", "--ids", "1", "--ids-file", "f"},
      {"eval", "perplexity", "--model", "m", "--file", "f", "--context", "1"},
  };
  for (const auto& words : cases) {
    const auto command = parse(words);
    ASSERT_FALSE(command) << testing::PrintToString(words);
    EXPECT_EQ(command.error(), kExitUsage) << testing::PrintToString(words);
  }
}

}  // namespace
}  // namespace pagoda
