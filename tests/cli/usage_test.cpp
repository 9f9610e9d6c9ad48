// Help, wrong usage, missing files, damaged files.
#include <gtest/gtest.h>

#include "program.h"

namespace pagoda::testing {
namespace {

using Words = std::vector<std::string>;

const std::vector<Words> kCommands = {{"serve"},
                                      {"run"},
                                      {"chat"},
                                      {"inspect"},
                                      {"bench", "kernels"},
                                      {"bench", "load"},
                                      {"bench", "prefill"},
                                      {"bench", "decode"},
                                      {"bench", "batch"},
                                      {"bench", "kv-cache"},
                                      {"bench", "kv-disk"},
                                      {"cache", "inspect"},
                                      {"cache", "verify"},
                                      {"cache", "clear"},
                                      {"eval", "logits"},
                                      {"eval", "generate"},
                                      {"eval", "tokenize"},
                                      {"eval", "template"},
                                      {"eval", "perplexity"}};

TEST(Usage, EveryCommandExplainsItselfWithExamples) {
  for (Words words : kCommands) {
    const std::string name = words.back();
    words.push_back("--help");
    const ProgramResult result = run_program(words);
    EXPECT_EQ(result.exit_code, 0) << name;
    EXPECT_NE(result.out.find("Examples:"), std::string::npos) << name;
    if (words.front() != "cache" && name != "kernels" && name != "kv-disk") {
      EXPECT_NE(result.out.find("--model"), std::string::npos) << name;
    }
    EXPECT_EQ(result.err, "") << name;
  }
  const ProgramResult top = run_program({"--help"});
  EXPECT_EQ(top.exit_code, 0);
  for (const char* name :
       {"serve", "run", "chat", "inspect", "cache", "bench", "eval", "PAGODA_ISA", "Exit codes"})
    EXPECT_NE(top.out.find(name), std::string::npos) << name;
}

TEST(Usage, HelpShowsDefaults) {
  const std::string help = run_program({"bench", "decode", "--help"}).out;
  EXPECT_NE(help.find("(default: 128)"), std::string::npos) << help;
  EXPECT_NE(help.find("80 %"), std::string::npos) << help;
  EXPECT_NE(help.find("auto"), std::string::npos) << help;
}

TEST(Usage, VersionIsOneLine) {
  const ProgramResult result = run_program({"--version"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(result.out.starts_with("pagoda 0.")) << result.out;
}

TEST(Usage, WrongUsageEndsWithTwo) {
  for (const Words& words :
       {Words{}, Words{"fly"}, Words{"run", "--model", tiny_model()}, Words{"run", "hello"},
        Words{"eval", "logits", "--model", tiny_model(), "--out", "x", "--ids", "1,a"},
        Words{"bench", "decode", "--model", tiny_model(), "--memory", "much"},
        Words{"bench", "kernels", "--formats", "q4_k,q9"}, Words{"bench", "kernels", "--seconds", "0"},
        Words{"bench", "load", "--model", tiny_model(), "--cache", "hot"}}) {
    const ProgramResult result = run_program(words);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(words);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err, "");
  }
}

TEST(Usage, WrongValuesAreNamedWithWhatIsRight) {
  struct Case {
    Words words;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {{"run", "-n", "0", "hi"}, "--max-tokens: '0' is no whole number of at least 1"},
      {{"run", "-n", "NaN", "hi"}, "--max-tokens: 'NaN' is no whole number of at least 1"},
      {{"run", "-n", "99999999999999999999", "hi"}, "from 1 to 9223372036854775807"},
      {{"run", "--top-k", "4294967296", "hi"}, "from 0 to 2147483647"},
      {{"run", "--temperature", "nan", "hi"}, "--temperature: 'nan' is no number from 0 to 100"},
      {{"run", "--threads", "1.5", "hi"}, "--threads: '1.5' is no whole number from 1 to 1024"},
      {{"run", "--seed", "18446744073709551616", "hi"}, "--seed: '18446744073709551616'"},
      {{"run", "--memory", "0", "hi"}, "--memory: '0' is no size"},
      {{"run", "--kv-type", "int4", "hi"}, "'int4' is none of auto, f32, bf16, int8"},
      {{"bench", "decode", "--tokens", "8,x"}, "--tokens: 'x'"},
      {{"serve", "--max-step-ms", "nan"}, "--max-step-ms: 'nan'"},
      {{"serve", "--drain-timeout", "nan"}, "--drain-timeout: 'nan'"},
      {{"serve", "--body-limit", "0"}, "--body-limit: '0'"},
      {{"serve", "--api-key", ""}, "--api-key: must not be empty"},
      {{"serve", "--served-model-name", ""}, "--served-model-name: must not be empty"},
      {{"serve", "--cors-origin", "https://app.example/"}, "write it as https://app.example"},
      {{"serve", "--cors-origin", "app.example"}, "write it as https://app.example"},
      {{"serve", "--kv-disk-size", "1GiB"}, "--kv-disk-size requires --kv-disk"},
      {{"serve", "--pooling", "most"}, "'most' is none of last, mean, cls"},
      {{"serve", "--prefix-cache-eviction", "fifo"}, "'fifo' is none of cost, lru"},
  };
  for (const auto& [words, expected] : cases) {
    Words all = words;
    all.insert(all.end(), {"--model", tiny_model()});
    const ProgramResult result = run_program(all);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(words);
    EXPECT_NE(result.err.find(expected), std::string::npos) << result.err;
    EXPECT_LT(result.err.size(), 200u) << result.err;
  }
}

TEST(Usage, AFolderInPlaceOfAFileIsNamed) {
  const TemporaryFolder folder;
  const std::string path = folder.file("");
  const std::string chats = folder.write("chats.jsonl", R"({"messages": []})");
  for (Words words : {Words{"eval", "logits", "--out", folder.file("x.npy"), "--ids-file", path},
                      Words{"eval", "perplexity", "--file", path}, Words{"eval", "tokenize", "--file", path},
                      Words{"eval", "template", "--chats", path},
                      Words{"eval", "template", "--chats", chats, "--template", path},
                      Words{"serve", "--chat-template", path}, Words{"serve", "--api-key-file", path}}) {
    words.insert(words.end(), {"--model", tiny_model()});
    expect_one_sentence(run_program(words), path);
  }
}

TEST(Usage, WhatTheMachineOrTheModelCannotHoldIsRefused) {
  expect_one_sentence(run_program({"bench", "kernels", "--working-set", "900TiB"}), "--working-set");
  expect_one_sentence(run_program({"bench", "preemption", "--model", tiny_model(), "--tokens", "100000"}),
                      "the context holds");
}

TEST(Usage, OutputThatIsLostIsAnError) {
  for (const Words& words : {Words{"--help"}, Words{"inspect", tiny_model(), "--json"}}) {
    const ProgramResult result = run_program(words, {.output = "/dev/full"});
    expect_one_sentence(result, "standard output");
  }
}

TEST(Usage, OptionsOfTracesAreChecked) {
  const TemporaryFolder folder;
  const std::string trace = folder.write("trace.jsonl", R"({"trace": "mine"}
{"arrival": 0, "prompt_tokens": 8, "output_tokens": 4}
)");
  for (const auto& [option, value] :
       {std::pair{"--warm-up", "nan"}, {"--ttft-ms", "0"}, {"--clients", "0"}}) {
    const ProgramResult result = run_program({"bench", "trace", "--trace", trace, option, value});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find(std::string(option) + ": '" + value + "'"), std::string::npos) << result.err;
  }
  // Before anything is asked of a server: nobody listens there.
  const std::string nowhere = folder.file("none/requests.jsonl");
  expect_one_sentence(run_program({"bench", "trace", "--trace", trace, "--url", "http://127.0.0.1:1/v1",
                                   "--requests-out", nowhere}),
                      nowhere);
}

TEST(Usage, MissingModelsAreNamed) {
  const TemporaryFolder empty;
  const std::vector<Words> cases = {
      {"run", "hi"},
      {"chat"},
      {"serve"},
      {"inspect"},
      {"bench", "decode"},
      {"bench", "load"},
      {"eval", "logits", "--ids", "1", "--out", empty.file("x.npy")},
      {"eval", "tokenize", "--file", "x"},
      {"eval", "template", "--chats", "x"},
      {"eval", "perplexity", "--file", "x"},
  };
  for (Words words : cases) {
    words.insert(words.end(), {"--model", "no-such-model"});
    expect_one_sentence(run_program(words, {.environment = {{"PAGODA_MODELS", empty.file("")}}}),
                        "no-such-model");
  }
  expect_one_sentence(run_program({"inspect", empty.file("none.gguf")}), "none.gguf");
}

TEST(Usage, ATruncatedModelIsNamed) {
  const TemporaryFolder folder;
  const std::string weights = read_file(tiny_model() + "/model.safetensors");
  ASSERT_FALSE(weights.empty());
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"})
    folder.write(name, read_file(tiny_model() + "/" + name));
  for (const size_t size : {size_t{0}, size_t{7}, size_t{100}, weights.size() / 2, weights.size() - 1}) {
    folder.write("model.safetensors", weights.substr(0, size));
    expect_one_sentence(run_program({"inspect", folder.file("")}), "model.safetensors");
    expect_one_sentence(run_program({"run", "--model", folder.file(""), "hi"}), "model.safetensors");
  }
}

TEST(Usage, AHostileFileIsRefused) {
  const TemporaryFolder folder;
  const std::string huge(8, '\xff');
  const std::vector<std::string> files = {
      "", "GGUF", "not a model at all", std::string("GGUF\3\0\0\0", 8) + huge + huge,
      std::string("GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 24) + huge};
  for (const std::string& bytes : files) {
    const std::string path = folder.write("hostile.gguf", bytes);
    expect_one_sentence(run_program({"inspect", path}), "hostile.gguf");
    expect_one_sentence(run_program({"eval", "generate", "--model", path, "--ids", "1"}), "hostile.gguf");
  }
}

TEST(Usage, AnUnknownIsaIsRefused) {
  const Words words = {"eval", "generate", "--model", tiny_model(), "--ids", "1"};
  expect_one_sentence(run_program(words, {.environment = {{"PAGODA_ISA", "mmx"}}}), "PAGODA_ISA");
}

}  // namespace
}  // namespace pagoda::testing
