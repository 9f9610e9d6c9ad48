// /v1/embeddings over the fake model: shapes, encodings, what is refused, and requests larger than the queue.
#include <cmath>
#include <cstring>

#include <boost/json.hpp>

#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

constexpr const char* kPath = "/v1/embeddings";

class EmbeddingsTest : public ServerFixture {
 protected:
  json::value answer(const std::string& body) {
    const HttpReply reply = post(kPath, body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body);
  }
  static std::vector<float> vector_of(const json::value& item) {
    std::vector<float> vector;
    for (const json::value& value : item.at("embedding").as_array())
      vector.push_back(value.to_number<float>());
    return vector;
  }
  // What the fake model's hidden states give, pooled and normalised.
  std::vector<float> expected(const std::vector<int32_t>& tokens, Pooling pooling = Pooling::last) const {
    const FakeModel oracle({.vocab_size = model->engine->model_info().vocab_size});
    std::vector<double> sums(8, 0.0);
    const size_t begin = pooling == Pooling::last ? tokens.size() : 1;
    const size_t end = pooling == Pooling::cls ? 1 : tokens.size();
    for (size_t length = begin; length <= end; ++length) {
      const std::vector<float> row = oracle.hidden_of(std::span(tokens).first(length));
      for (size_t i = 0; i < row.size(); ++i) sums[i] += static_cast<double>(row[i]);
    }
    double squares = 0;
    for (const double sum : sums) squares += sum * sum;
    std::vector<float> vector;
    for (const double sum : sums) vector.push_back(static_cast<float>(sum / std::sqrt(squares)));
    return vector;
  }
  std::vector<int32_t> with_bos(const std::string& text) const {
    std::vector<int32_t> ids =
        model->engine->tokenizer().encode(text, Specials::parse).value_or(std::vector<TokenId>{});
    ids.insert(ids.begin(), kBos);
    return ids;
  }
  static void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6) << i;
  }
};

TEST_F(EmbeddingsTest, AllFormsOfInputGiveOpenAisShape) {
  start();
  const json::value one = answer(R"({"model":"fake","input":"hello","user":"u"})");
  EXPECT_EQ(one.at("object"), "list");
  EXPECT_EQ(one.at("model"), "fake");
  EXPECT_EQ(one.at("data").at(0).at("object"), "embedding");
  EXPECT_EQ(one.at("data").at(0).at("index"), 0);
  expect_near(vector_of(one.at("data").at(0)), expected(with_bos("hello")));
  const size_t num_tokens = with_bos("hello").size();
  EXPECT_EQ(one.at("usage"), (json::object{{"prompt_tokens", num_tokens}, {"total_tokens", num_tokens}}));
  const json::value several = answer(R"({"input":["hello","x",[5,6,7]],"dimensions":8})");
  ASSERT_EQ(several.at("data").as_array().size(), 3u);
  EXPECT_EQ(vector_of(several.at("data").at(0)), vector_of(one.at("data").at(0))) << "batch = alone";
  EXPECT_EQ(several.at("data").at(2).at("index"), 2);
  expect_near(vector_of(several.at("data").at(2)), expected({5, 6, 7}));
  expect_near(vector_of(answer(R"({"input":[5,6,7]})").at("data").at(0)), expected({5, 6, 7}));
}

TEST_F(EmbeddingsTest, Base64HoldsTheSameBits) {
  start();
  const json::value plain = answer(R"({"input":[[5,6],[7]]})");
  const json::value packed = answer(R"({"input":[[5,6],[7]],"encoding_format":"base64"})");
  for (size_t item = 0; item < 2; ++item) {
    const std::string text(packed.at("data").at(item).at("embedding").as_string());
    ASSERT_EQ(text.size(), 44u) << "32 bytes";
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bytes;
    uint32_t bits = 0;
    int num_bits = 0;
    for (const char c : text.substr(0, text.find('='))) {
      bits = bits << 6 | static_cast<uint32_t>(digits.find(c));
      num_bits += 6;
      if (num_bits < 8) continue;
      num_bits -= 8;
      bytes += static_cast<char>(bits >> num_bits & 0xff);
    }
    std::vector<float> vector(8);
    ASSERT_EQ(bytes.size(), 32u);
    std::memcpy(vector.data(), bytes.data(), bytes.size());
    EXPECT_EQ(vector, vector_of(plain.at("data").at(item)));
  }
}

TEST_F(EmbeddingsTest, PoolingIsTheServers) {
  options.pooling = Pooling::mean;
  start();
  expect_near(vector_of(answer(R"({"input":[5,6,7,8,9]})").at("data").at(0)),
              expected({5, 6, 7, 8, 9}, Pooling::mean));
}

TEST_F(EmbeddingsTest, MoreInputsThanTheQueueHolds) {
  engine_config.max_sequences = 4;
  engine_config.max_queued_requests = 8;
  start();
  json::array inputs;
  for (int i = 0; i < 300; ++i) inputs.push_back(json::array{5 + i % 400, 6});
  const json::value all = answer(json::serialize(json::object{{"input", inputs}}));
  ASSERT_EQ(all.at("data").as_array().size(), 300u);
  for (int i = 0; i < 300; i += 37)
    expect_near(vector_of(all.at("data").at(static_cast<size_t>(i))), expected({5 + i % 400, 6}));
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(EmbeddingsTest, WrongValuesNameTheirParameter) {
  start();
  const std::tuple<std::string, const char*, const char*> kBad[] = {
      {"{}", "input", "missing_required_parameter"},
      {R"({"input":""})", "input", "invalid_value"},
      {R"({"input":["a",""]})", "input", "invalid_value"},
      {R"({"input":[]})", "input", "invalid_value"},
      {R"({"input":[[]]})", "input[0]", "invalid_value"},
      {R"({"input":[1,512]})", "input[1]", "integer_above_max_value"},
      {R"({"input":5})", "input", "invalid_type"},
      {R"({"input":["a",5]})", "input[1]", "invalid_type"},
      {R"({"input":"a","encoding_format":"int8"})", "encoding_format", "invalid_value"},
      {R"({"input":"a","dimensions":4})", "dimensions", "unsupported_parameter"},
      {R"({"input":"a","dimensions":0})", "dimensions", "integer_below_min_value"},
      {R"({"input":"a","user":1})", "user", "invalid_type"},
      {fmt::format(R"({{"input":"{}"}})", std::string(3000, 'x')), "input", "context_length_exceeded"},
  };
  for (const auto& [body, param, code] : kBad)
    expect_error(post(kPath, body), 400, "invalid_request_error", param, code);
  expect_error(post(kPath, R"({"input":"a","model":"none"})"), 404, "invalid_request_error", "model",
               "model_not_found");
  EXPECT_EQ(answer(fmt::format(R"({{"input":"{}","truncate_prompt_tokens":5}})", std::string(3000, 'x')))
                .at("usage")
                .at("prompt_tokens"),
            5);
}

TEST_F(EmbeddingsTest, DeadlinesHold) {
  gate.close();
  start();
  const HttpReply reply = post(kPath, R"({"input":[5,6]})", "timeout: 0.2\r\n");
  EXPECT_EQ(reply.status, 504) << reply.body;
  gate.open();
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(EmbeddingsTest, ABrokenModelGivesAnErrorOnly) {
  poison_token = 9;
  start();
  EXPECT_EQ(post(kPath, R"({"input":[[5],[9],[6]]})").status, 500);
  EXPECT_TRUE(engine_becomes_idle());
}

TEST_F(EmbeddingsTest, AClientThatLeavesFreesAll) {
  engine_config.max_sequences = 2;
  step_time = std::chrono::milliseconds(20);
  start();
  {
    HttpClient client(port());
    json::array inputs;
    for (int i = 0; i < 200; ++i) inputs.push_back(json::array{5, 6, 7});
    client.send(post_request(kPath, json::serialize(json::object{{"input", inputs}})));
    EXPECT_TRUE(eventually([&] { return model->engine->stats().prompt_tokens > 0; }));
  }
  EXPECT_TRUE(engine_becomes_idle());
  EXPECT_LT(model->engine->stats().prompt_tokens, 600u) << "the rest was not computed";
  EXPECT_EQ(post(kPath, R"({"input":"still here"})").status, 200);
}

}  // namespace
}  // namespace pagoda::testing
