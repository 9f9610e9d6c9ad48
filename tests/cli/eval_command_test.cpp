// `pagoda eval …` against the golden model, tokenizer and chats.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include "program.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

constexpr float kLogitsTolerance = 1.8e-4f;  // from the golden model's manifest

// The golden tensors, read by hand: the program's own parser has no business in its test.
class Golden {
 public:
  Golden() : bytes_(read_file(tiny_model() + "/golden.safetensors")) {
    std::memcpy(&header_len_, bytes_.data(), sizeof header_len_);
    header_ = json::parse(std::string_view(bytes_).substr(8, header_len_));
  }
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const json::array& offsets = header_.at(name).at("data_offsets").as_array();
    const auto begin = static_cast<size_t>(offsets.at(0).as_int64());
    const auto end = static_cast<size_t>(offsets.at(1).as_int64());
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), bytes_.data() + 8 + header_len_ + begin, end - begin);
    return values;
  }

 private:
  std::string bytes_;
  uint64_t header_len_ = 0;
  json::value header_;
};

std::string join(const std::vector<int32_t>& ids, const char* separator) {
  std::string text;
  for (const int32_t id : ids) text += (text.empty() ? "" : separator) + std::to_string(id);
  return text;
}

// Checks the header and returns the values of a float32 matrix.
std::vector<float> read_matrix(const std::string& path, size_t num_rows, size_t num_cols) {
  const std::string bytes = read_file(path);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\1\0", 8));
  const size_t header_len =
      static_cast<unsigned char>(bytes.at(8)) + 256u * static_cast<unsigned char>(bytes.at(9));
  const std::string header = bytes.substr(10, header_len);
  const std::string shape = "(" + std::to_string(num_rows) + ", " + std::to_string(num_cols) + ")";
  EXPECT_NE(header.find("'descr': '<f4'"), std::string::npos) << header;
  EXPECT_NE(header.find("'fortran_order': False"), std::string::npos) << header;
  EXPECT_NE(header.find(shape), std::string::npos) << header;
  std::vector<float> values(num_rows * num_cols);
  EXPECT_EQ(bytes.size(), 10 + header_len + values.size() * sizeof(float));
  if (bytes.size() == 10 + header_len + values.size() * sizeof(float))
    std::memcpy(values.data(), bytes.data() + 10 + header_len, values.size() * sizeof(float));
  return values;
}

TEST(EvalLogits, EqualTheGoldenOnes) {
  const Golden golden;
  const TemporaryFolder folder;
  for (int prompt = 0; prompt < 3; ++prompt) {
    const std::string key = "prompt" + std::to_string(prompt);
    const auto ids = golden.values<int32_t>(key + ".ids");
    const auto expected = golden.values<float>(key + ".logits");
    const std::string out = folder.file(key + ".npy");
    const ProgramResult result =
        run_program({"eval", "logits", "--model", tiny_model(), "--ids", join(ids, ","), "--out", out});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const std::vector<float> logits = read_matrix(out, ids.size(), expected.size() / ids.size());
    float worst = 0;
    for (size_t i = 0; i < logits.size(); ++i) worst = std::max(worst, std::abs(logits[i] - expected[i]));
    EXPECT_LE(worst, kLogitsTolerance) << key;
  }
}

TEST(EvalLogits, ChunksThreadsAndIdFilesChangeNothing) {
  const Golden golden;
  const TemporaryFolder folder;
  const auto ids = golden.values<int32_t>("prompt2.ids");
  const std::string ids_file = folder.write("ids.txt", join(ids, "\n"));
  std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (150,), }";
  header.resize(118, ' ');
  std::string npy = std::string("\x93NUMPY\1\0\x76\0", 10) + header;
  npy.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t));
  const std::string ids_npy = folder.write("ids.npy", npy);
  std::string reference;
  const std::vector<std::vector<std::string>> variants = {
      {"--ids-file", ids_file},
      {"--ids-file", ids_npy},
      {"--ids-file", ids_file, "--chunk", "1"},
      {"--ids-file", ids_file, "--chunk", "7", "--threads", "1"},
      {"--ids-file", ids_file, "--chunk", "16", "--threads", "3"}};
  for (const auto& variant : variants) {
    const std::string out = folder.file("out.npy");
    std::vector<std::string> words = {"eval", "logits", "--model", tiny_model(), "--out", out};
    words.insert(words.end(), variant.begin(), variant.end());
    const ProgramResult result = run_program(words);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const std::string bytes = read_file(out);
    if (reference.empty()) reference = bytes;
    EXPECT_TRUE(bytes == reference) << ::testing::PrintToString(variant);
  }
}

TEST(EvalLogits, RefusesWhatDoesNotFit) {
  const TemporaryFolder folder;
  const std::vector<std::string> words = {"eval",       "logits", "--model",
                                          tiny_model(), "--out",  folder.file("x.npy")};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), words.begin(), words.end());
    return run_program(more);
  };
  expect_one_sentence(with({"--ids", "512"}), "512");
  expect_one_sentence(with({"--ids", join(std::vector<int32_t>(513, 7), ",")}), "513 tokens");
  expect_one_sentence(with({"--ids-file", folder.file("none.txt")}), "none.txt");
  expect_one_sentence(with({"--ids", "1", "--max-context", "100000"}), "100000");
}

double log_softmax(std::span<const float> logits, int32_t token) {
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  return static_cast<double>(logits[static_cast<size_t>(token)]) - std::log(total);
}

TEST(EvalGenerate, FollowsTheGoldenContinuation) {
  const Golden golden;
  const TemporaryFolder folder;
  for (int prompt = 0; prompt < 3; ++prompt) {
    const std::string key = "prompt" + std::to_string(prompt);
    auto ids = golden.values<int32_t>(key + ".ids");
    const auto expected = golden.values<int32_t>(key + ".greedy_ids");
    const ProgramResult result =
        run_program({"eval", "generate", "--model", tiny_model(), "--ids", join(ids, ","), "--max-tokens",
                     std::to_string(expected.size()), "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto lines = parse_lines(result.out);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_EQ(json::value_to<std::vector<int32_t>>(lines[0].at("ids")), expected);

    // The log probabilities are those of the logits along the continuation.
    const auto logprobs = json::value_to<std::vector<double>>(lines[0].at("logprobs"));
    ASSERT_EQ(logprobs.size(), expected.size());
    const size_t first = ids.size() - 1;
    ids.insert(ids.end(), expected.begin(), expected.end());
    const std::string out = folder.file("all.npy");
    ASSERT_EQ(run_program({"eval", "logits", "--model", tiny_model(), "--ids", join(ids, ","), "--out", out})
                  .exit_code,
              0);
    const std::vector<float> logits = read_matrix(out, ids.size(), 512);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(logprobs[i], log_softmax(std::span(logits).subspan((first + i) * 512, 512), expected[i]),
                  1e-5)
          << i;
  }
}

TEST(EvalTokenize, EncodesAndStreamsEachLine) {
  const TemporaryFolder folder;
  const std::string file = folder.write("texts.jsonl",
                                        "{\"text\": \"Hello, world\"}\n\n{\"n\": 1, \"text\": \"\"}\n"
                                        "{\"text\": \"caf\\u00e9 \\ud83d\\ude80 <|im_end|>\"}\n");
  const ProgramResult parsed = run_program({"eval", "tokenize", "--model", tiny_model(), "--file", file});
  ASSERT_EQ(parsed.exit_code, 0) << parsed.err;
  const auto lines = parse_lines(parsed.out);
  ASSERT_EQ(lines.size(), 3u);
  const std::vector<std::string> texts = {"Hello, world", "", "café 🚀 <|im_end|>"};
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string joined;
    for (const json::value& piece : lines[i].at("pieces").as_array())
      joined += std::string_view(piece.as_string());
    EXPECT_EQ(joined, texts[i]);
    EXPECT_EQ(lines[i].at("pieces").as_array().size(), lines[i].at("ids").as_array().size());
  }
  const std::string broken = folder.write("broken.jsonl", "{\"text\": \"ok\"}\n{\"no\": 1}\n");
  const ProgramResult failed = run_program({"eval", "tokenize", "--model", tiny_model(), "--file", broken});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_NE(failed.err.find("broken.jsonl, line 2"), std::string::npos) << failed.err;
}

TEST(EvalTokenize, SpecialsAsTextStayText) {
  const TemporaryFolder folder;
  const json::value config = json::parse(read_file(tiny_model() + "/tokenizer_config.json"));
  const std::string special(config.at("eos_token").as_string());
  const std::string file =
      folder.write("texts.jsonl", json::serialize(json::value{{"text", special}}) + "\n");
  const std::vector<std::string> words = {"eval", "tokenize", "--model", tiny_model(), "--file", file};
  const auto parsed = parse_lines(run_program(words).out);
  ASSERT_EQ(parsed.size(), 1u);
  EXPECT_EQ(parsed[0].at("ids").as_array().size(), 1u);
  auto as_text = words;
  as_text.push_back("--specials-as-text");
  const auto plain = parse_lines(run_program(as_text).out);
  ASSERT_EQ(plain.size(), 1u);
  EXPECT_GT(plain[0].at("ids").as_array().size(), 1u);
}

TEST(EvalTemplate, RendersOrSaysWhyNot) {
  const TemporaryFolder folder;
  const std::string chats = folder.write(
      "chats.jsonl",
      "{\"name\": \"a\", \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"kwargs\": {\"x\": "
      "1.50}}\n"
      "{\"messages\": [], \"add_generation_prompt\": false}\n"
      "{\"messages\": [{\"role\": \"robot\", \"content\": \"\"}], \"add_generation_prompt\": false}\n");
  const std::string source = folder.write(
      "own.jinja",
      "{%- for m in messages -%}{%- if m.role == 'robot' -%}{{ raise_exception('no robots') }}{%- endif -%}"
      "{{ m.role }}:{{ m.content }}{{ eos_token }}{%- endfor -%}"
      "{%- if add_generation_prompt -%}|{{ x }}|{{ tools is none }}{%- endif -%}");
  const ProgramResult result =
      run_program({"eval", "template", "--model", tiny_model(), "--chats", chats, "--template", source});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = parse_lines(result.out);
  ASSERT_EQ(lines.size(), 3u);
  const json::value config = json::parse(read_file(tiny_model() + "/tokenizer_config.json"));
  const std::string eos(config.at("eos_token").as_string());
  EXPECT_EQ(lines[0].at("rendered").as_string(), "user:Hi" + eos + "|1.5|True");
  EXPECT_EQ(lines[1].at("rendered").as_string(), "");
  EXPECT_NE(std::string(lines[2].at("error").as_string()).find("no robots"), std::string::npos);
  // The model's own template.
  const ProgramResult own = run_program({"eval", "template", "--model", tiny_model(), "--chats", chats});
  ASSERT_EQ(own.exit_code, 0) << own.err;
  EXPECT_NE(std::string(parse_lines(own.out).at(0).at("rendered").as_string()).find("Hi"), std::string::npos);
}

TEST(EvalPerplexity, ScoresTheSecondHalvesOfItsWindows) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 200; ++i) text += "The pagoda stands at the river, level " + std::to_string(i) + ".\n";
  const std::string file = folder.write("text.txt", text);
  const std::vector<std::string> words = {"eval",      "perplexity", "--model",  tiny_model(), "--file", file,
                                          "--context", "64",         "--chunks", "3",          "--json"};
  const ProgramResult result = run_program(words);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = parse_lines(result.out);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].at("windows").as_int64(), 3);
  EXPECT_EQ(lines[0].at("scored_tokens").as_int64(), 3 * 31);  // positions 32 to 62 of each window

  // The same figure from the logits of `eval logits`.
  const std::string line = json::serialize(json::value{{"text", text}});
  const std::string jsonl = folder.write("text.jsonl", line + "\n");
  const auto tokens = parse_lines(
      run_program({"eval", "tokenize", "--model", tiny_model(), "--file", jsonl, "--specials-as-text"}).out);
  const auto ids = json::value_to<std::vector<int32_t>>(tokens.at(0).at("ids"));
  double sum = 0;
  for (int window = 0; window < 3; ++window) {
    const std::vector<int32_t> part(ids.begin() + window * 64, ids.begin() + (window + 1) * 64);
    const std::string out = folder.file("window.npy");
    ASSERT_EQ(run_program({"eval", "logits", "--model", tiny_model(), "--ids", join(part, ","), "--out", out})
                  .exit_code,
              0);
    const std::vector<float> logits = read_matrix(out, 64, 512);
    for (size_t position = 32; position <= 62; ++position) {
      sum -= log_softmax(std::span(logits).subspan(position * 512, 512), part[position + 1]);
    }
  }
  EXPECT_NEAR(lines[0].at("perplexity").to_number<double>() / std::exp(sum / (3 * 31)), 1.0, 1e-5);

  const auto compared_with = [&](const char* kv_type) {
    std::vector<std::string> more = words;
    more.insert(more.end(), {"--kv-type", "int8", "--reference-kv-type", kv_type});
    return parse_lines(run_program(more).out).at(0);
  };
  // The reference runs beside it as it would alone.
  const auto compared = compared_with("f32");
  EXPECT_EQ(compared.at("kv_type"), "int8");
  EXPECT_EQ(compared.at("reference").at("kv_type"), "f32");
  EXPECT_EQ(compared.at("reference").at("perplexity"), lines[0].at("perplexity"));
  EXPECT_GT(compared.at("reference").at("divergence").to_number<double>(), 0);
  EXPECT_LT(compared.at("reference").at("divergence").to_number<double>(), 0.01);
  const double change = compared.at("reference").at("perplexity_change").to_number<double>();
  EXPECT_NEAR(
      compared.at("perplexity").to_number<double>() / lines[0].at("perplexity").to_number<double>() - 1,
      change, 1e-9);
  EXPECT_GT(compared.at("reference").at("perplexity_change_error").to_number<double>(), 0);
  const auto same = compared_with("int8").at("reference");
  EXPECT_EQ(same.at("divergence").to_number<double>(), 0);
  EXPECT_EQ(same.at("perplexity_change").to_number<double>(), 0);
  EXPECT_EQ(same.at("perplexity_change_error").to_number<double>(), 0);
  expect_one_sentence(run_program({"eval", "perplexity", "--model", tiny_model(), "--file",
                                   folder.write("short.txt", "short"), "--context", "64"}),
                      "--context");
}

}  // namespace
}  // namespace pagoda::testing
