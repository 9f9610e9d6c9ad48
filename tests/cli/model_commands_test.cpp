// `pagoda run`, `chat` and `inspect` on the tiny model.
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "program.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

TEST(Run, StreamsTextAndRepeatsItWithTheSameSeed) {
  const std::vector<std::string> words = {"run", "--model",      tiny_model(), "--max-tokens",
                                          "24",  "--seed",       "5",          "--temperature",
                                          "0.8", "--ignore-eos", "Hello"};
  const ProgramResult first = run_program(words);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.err, "");
  EXPECT_GT(first.out.size(), 1u);
  EXPECT_EQ(first.out.back(), '\n');
  EXPECT_EQ(run_program(words).out, first.out);
}

TEST(Run, JsonHoldsTextIdsReasonAndTimings) {
  const ProgramResult result = run_program({"run", "--model", tiny_model(), "--max-tokens", "12",
                                            "--temperature", "0", "--ignore-eos", "--json", "Hello"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = parse_lines(result.out);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].at("ids").as_array().size(), 12u);
  EXPECT_EQ(lines[0].at("finish_reason").as_string(), "length");
  EXPECT_EQ(lines[0].at("timings").at("generated_tokens").as_int64(), 12);
  EXPECT_GT(lines[0].at("timings").at("prompt_tokens").as_int64(), 0);
  const ProgramResult plain = run_program(
      {"run", "--model", tiny_model(), "--max-tokens", "12", "--temperature", "0", "--ignore-eos", "Hello"});
  EXPECT_EQ(plain.out, std::string(lines[0].at("text").as_string()) + "\n");
}

TEST(Run, MatchesGreedyEvaluation) {
  const TemporaryFolder folder;
  const auto tokens = parse_lines(run_program({"eval", "tokenize", "--model", tiny_model(), "--file",
                                               folder.write("t.jsonl", "{\"text\": \"Hello\"}\n")})
                                      .out);
  const std::string ids_file = folder.write("ids.txt", [&] {
    std::string text;
    for (const json::value& id : tokens.at(0).at("ids").as_array())
      text += std::to_string(id.as_int64()) + " ";
    return text;
  }());
  const auto greedy = parse_lines(run_program({"eval", "generate", "--model", tiny_model(), "--ids-file",
                                               ids_file, "--max-tokens", "20", "--json"})
                                      .out);
  const auto run = parse_lines(run_program({"run", "--model", tiny_model(), "--max-tokens", "20",
                                            "--temperature", "0", "--ignore-eos", "--json", "Hello"})
                                   .out);
  EXPECT_EQ(run.at(0).at("ids"), greedy.at(0).at("ids"));
}

TEST(Run, ReadsThePromptFromStandardInput) {
  const std::vector<std::string> words = {"run", "--model",       tiny_model(), "--max-tokens",
                                          "8",   "--temperature", "0"};
  auto from_argument = words;
  from_argument.push_back("Hello there");
  auto from_input = words;
  from_input.push_back("-");
  EXPECT_EQ(run_program(from_input, {.input = "Hello there"}).out, run_program(from_argument).out);
}

TEST(Run, AppliesTheTemplateAndStops) {
  const ProgramResult result = run_program({"run", "--model", tiny_model(), "--chat", "--system", "Be brief.",
                                            "--json", "--max-tokens", "8", "--temperature", "0", "Hi"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto plain = parse_lines(
      run_program({"run", "--model", tiny_model(), "--json", "--max-tokens", "8", "--temperature", "0", "Hi"})
          .out);
  EXPECT_GT(parse_lines(result.out).at(0).at("timings").at("prompt_tokens").as_int64(),
            plain.at(0).at("timings").at("prompt_tokens").as_int64());
}

TEST(Run, NamesBothNumbersWhenThePromptIsTooLong) {
  std::string prompt;
  for (int i = 0; i < 600; ++i) prompt += "x y ";
  expect_one_sentence(run_program({"run", "--model", tiny_model(), prompt}), "512");
}

TEST(Run, KeepsItsMemoryPromise) {
  expect_one_sentence(run_program({"run", "--model", tiny_model(), "--memory", "100KB", "Hi"}), "memory");
}

// The flag takes no word for its folder: what follows is the prompt.
TEST(Run, KeepsPackedWeightsBesideTheModel) {
  const TemporaryFolder folder;
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"})
    folder.write(name, read_file(tiny_model() + "/" + name));
  const std::vector<std::string> words = {"run",           "--model", folder.file(""),  "--max-tokens", "5",
                                          "--temperature", "0",       "--packed-cache", "Hello"};
  const ProgramResult plain =
      run_program({"run", "--model", tiny_model(), "--max-tokens", "5", "--temperature", "0", "Hello"});
  for (int start = 0; start < 2; ++start) {
    const ProgramResult result = run_program(words);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_EQ(result.out, plain.out);
  }
  const std::string cache = folder.file("model.packed");
  const std::string whole = read_file(cache);
  ASSERT_GT(whole.size(), 10000u);
  folder.write("model.packed", whole.substr(0, whole.size() - 1));
  const ProgramResult result = run_program(words);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, plain.out);
  EXPECT_NE(result.err.find("model.packed: is cut short"), std::string::npos) << result.err;
  EXPECT_EQ(read_file(cache), whole);
}

TEST(Run, KeepsPackedWeightsInAFolder) {
  const TemporaryFolder folder;
  const std::string option = "--packed-cache=" + folder.file("");
  const ProgramResult result =
      run_program({"run", "--model", tiny_model(), "--max-tokens", "1", option, "Hello"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::filesystem::directory_iterator files(folder.file(""));
  ASSERT_NE(files, std::filesystem::directory_iterator());
  EXPECT_EQ(files->path().extension(), ".packed");
  const ProgramResult nowhere = run_program({"run", "--model", tiny_model(), "--max-tokens", "1",
                                             "--packed-cache=" + folder.file("none"), "Hello"});
  EXPECT_EQ(nowhere.exit_code, 0);
  EXPECT_NE(nowhere.err.find("are not kept"), std::string::npos) << nowhere.err;
}

TEST(Chat, WorksThroughAPipe) {
  const std::vector<std::string> words = {"chat", "--model",       tiny_model(), "--max-tokens",
                                          "8",    "--temperature", "0"};
  const ProgramResult result =
      run_program(words, {.input = "Hello\n/reset\nHello\n/help\n/exit\nnever read\n"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  // The conversation began anew, so the same answer comes twice.
  const ProgramResult once = run_program(words, {.input = "Hello\n"});
  ASSERT_EQ(once.exit_code, 0) << once.err;
  EXPECT_TRUE(result.out.starts_with(once.out + once.out)) << result.out << "---" << once.out;
  EXPECT_NE(result.out.find("/reset"), std::string::npos);
  EXPECT_EQ(result.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(run_program(words, {.input = ""}).exit_code, 0);
}

TEST(Chat, SaysThatAMessageIsNotUtf8) {
  expect_one_sentence(run_program({"chat", "--model", tiny_model()}, {.input = "caf\xe9\n"}), "not UTF-8");
}

TEST(Chat, RemembersEarlierTurns) {
  const std::vector<std::string> words = {"chat", "--model",       tiny_model(), "--max-tokens",
                                          "8",    "--temperature", "0"};
  const std::string first = run_program(words, {.input = "Hello\n"}).out;
  const std::string both = run_program(words, {.input = "Hello\nHello\n"}).out;
  ASSERT_TRUE(both.starts_with(first));
  EXPECT_NE(both.substr(first.size()), first);
}

TEST(Serve, SaysHowToAskAndEndsOnSigterm) {
  const ProgramResult result = run_program({"serve", "--model", tiny_model(), "--port", "0",
                                            "--served-model-name", "tiny", "--max-sequences", "4"},
                                           {.terminate_at = "curl http://127.0.0.1:"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"Serving tiny on http://127.0.0.1:", "model: llama", "kernels: ", "KV cache of ",
                           "/v1/chat/completions", "\"model\": \"tiny\""})
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in " << result.out;
}

TEST(Serve, RefusesAnAddressThatIsNotHere) {
  expect_one_sentence(
      run_program({"serve", "--model", tiny_model(), "--host", "203.0.113.7", "--log-level", "off"}),
      "203.0.113.7");
  const TemporaryFolder folder;
  expect_one_sentence(
      run_program({"serve", "--model", tiny_model(), "--api-key-file", folder.file("keys.txt")}), "keys.txt");
}

TEST(Inspect, ShowsTheModel) {
  const ProgramResult text = run_program({"inspect", tiny_model()});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  for (const char* part : {"llama", "512", "bf16", "tokenizer", "model.embed_tokens.weight", "[512, 64]"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part;
  const ProgramResult result = run_program({"inspect", tiny_model(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = parse_lines(result.out);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].at("architecture").as_string(), "llama");
  EXPECT_EQ(lines[0].at("format").as_string(), "hugging_face");
  EXPECT_EQ(lines[0].at("context_length").as_int64(), 512);
  EXPECT_EQ(lines[0].at("tokenizer").at("tokens").as_int64(), 512);
  EXPECT_FALSE(lines[0].at("chat_template").as_string().empty());
  EXPECT_EQ(lines[0].at("types").as_array().at(0).at("type").as_string(), "bf16");
  size_t bytes = 0;
  for (const json::value& tensor : lines[0].at("tensors").as_array())
    bytes += tensor.at("bytes").to_number<size_t>();
  EXPECT_EQ(bytes, lines[0].at("tensor_bytes").to_number<size_t>());
}

}  // namespace
}  // namespace pagoda::testing
