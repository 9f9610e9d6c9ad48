// /tokenize, /detokenize, /apply-template, and the small routes beside them.
#include <boost/json.hpp>

#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

class TokenizeTest : public ServerFixture {
 protected:
  json::value answer(const std::string& path, const std::string& body) {
    const HttpReply reply = post(path, body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return parse(reply.body);
  }
  static std::vector<int32_t> ids(const json::value& answer) {
    return json::value_to<std::vector<int32_t>>(answer.at("tokens"));
  }
  std::vector<int32_t> encode(const std::string& text, Specials specials = Specials::parse) {
    return model->engine->tokenizer().encode(text, specials).value_or(std::vector<TokenId>{});
  }
};

TEST_F(TokenizeTest, PromptsHaveVllmsShape) {
  start();
  std::vector<int32_t> expected = encode("hi there");
  expected.insert(expected.begin(), kBos);
  const json::value with_bos = answer("/tokenize", R"({"model":"fake","prompt":"hi there"})");
  EXPECT_EQ(ids(with_bos), expected);
  EXPECT_EQ(with_bos.at("count"), expected.size());
  EXPECT_EQ(with_bos.at("max_model_len"), 2048);
  EXPECT_EQ(with_bos.at("token_strs"), nullptr);
  const json::value named =
      answer("/tokenize", R"({"prompt":"hi there","add_special_tokens":false,"return_token_strs":true})");
  EXPECT_EQ(ids(named), encode("hi there"));
  std::string text;
  for (const json::value& piece : named.at("token_strs").as_array()) text += piece.as_string();
  EXPECT_EQ(text, "hi there");
  EXPECT_EQ(ids(answer("/tokenize", R"({"prompt":"","add_special_tokens":false})")).size(), 0u);
}

TEST_F(TokenizeTest, ContentIsLlamaCpps) {
  start();
  EXPECT_EQ(ids(answer("/tokenize", R"({"content":"<s>hi"})")), encode("<s>hi"));
  EXPECT_EQ(ids(answer("/tokenize", R"({"content":"<s>hi","parse_special":false})")),
            encode("<s>hi", Specials::as_text));
  EXPECT_EQ(ids(answer("/tokenize", R"({"content":"hi","add_special":true})")).front(), kBos);
  const json::value pieces = answer("/tokenize", R"({"content":"é","with_pieces":true})").at("tokens");
  EXPECT_EQ(pieces.at(0).at("piece"), (json::array{0xc3})) << "half a character is no text";
}

TEST_F(TokenizeTest, PredictTellsHowLongARequestWouldTake) {
  start();
  post("/v1/completions", R"({"prompt":"warm up","max_tokens":20})");
  const json::value idle = answer("/v1/predict", R"({"model":"fake","prompt":"hi there"})");
  EXPECT_EQ(idle.at("num_prompt_tokens"), encode("hi there").size() + 1);
  EXPECT_EQ(idle.at("queue_seconds").to_number<double>(), 0);
  EXPECT_GT(idle.at("prefill_seconds").to_number<double>(), 0);
  EXPECT_DOUBLE_EQ(
      idle.at("ttft_seconds").to_number<double>(),
      idle.at("queue_seconds").to_number<double>() + idle.at("prefill_seconds").to_number<double>());
  EXPECT_EQ(idle.at("num_waiting"), 0);
  const json::value chat = answer("/v1/predict", R"({"messages":[{"role":"user","content":"hi"}]})");
  EXPECT_GT(chat.at("num_prompt_tokens").to_number<int>(), 5);
  // Token ids as they are, as for completions.
  const json::value tokens = answer("/v1/predict", R"({"prompt":[10,11,12]})");
  EXPECT_EQ(tokens.at("num_prompt_tokens"), 3);
  EXPECT_LT(tokens.at("prefill_seconds").to_number<double>(), chat.at("prefill_seconds").to_number<double>());
  expect_error(post("/v1/predict", R"({"prompt":[10,512]})"), 400, "invalid_request_error", "prompt[1]",
               "integer_above_max_value");
  EXPECT_EQ(answer("/v1/predict", R"({"prompt":[10],"max_tokens":5})").at("num_prompt_tokens"), 1);
  expect_error(post("/v1/predict", R"({"prompt":[10],"max_tokens":0})"), 400, "invalid_request_error",
               "max_tokens", "integer_below_min_value");
  expect_error(post("/v1/predict", R"({"prompt":[10],"max_completion_tokens":1000000})"), 400,
               "invalid_request_error", "max_completion_tokens", "context_length_exceeded");
  EXPECT_EQ(answer("/v1/predict", R"({"prompt":[10],"n_predict":1000000})").at("num_prompt_tokens"), 1);
  expect_error(post("/v1/predict", R"({"prompt":[10],"n_predict":-2})"), 400, "invalid_request_error",
               "n_predict", "integer_below_min_value");
  const std::string text(100'000, 'a');
  expect_error(post("/v1/predict", R"({"prompt":")" + text + R"("})"), 400, "invalid_request_error", "prompt",
               "context_length_exceeded");
  EXPECT_EQ(post("/v1/predict", R"({"prompt":[]})").status, 400);
  EXPECT_EQ(post("/v1/predict", R"({"prompt":["a","b"]})").status, 400);
  EXPECT_EQ(post("/v1/predict", R"({"content":[10]})").status, 400);
  EXPECT_EQ(post("/v1/predict", R"({"model":"other","prompt":"hi"})").status, 404);
  EXPECT_EQ(post("/v1/predict", "{}").status, 400);
}

TEST_F(TokenizeTest, MessagesAreRenderedFirst) {
  start();
  const std::string chat = R"("messages":[{"role":"user","content":"hi <|im_end|>"}])";
  const json::value prompt = answer("/apply-template", "{" + chat + "}");
  EXPECT_EQ(prompt.at("prompt").as_string(),
            "<|im_start|>user\nhi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
  std::vector<int32_t> tokens = ids(answer("/tokenize", "{" + chat + "}"));
  EXPECT_EQ(std::ranges::count(tokens, kImEnd), 1) << "a client's text forges no control token";
  EXPECT_EQ(ids(answer("/tokenize", "{" + chat + R"(,"add_special_tokens":true})")).front(), kBos);
  EXPECT_EQ(answer("/apply-template", "{" + chat + R"(,"add_generation_prompt":false})").at("prompt"),
            "<|im_start|>user\nhi <|im_end|><|im_end|>\n");
  const json::value tools = answer("/apply-template", "{" + chat + R"(,"tools":[{"type":"function",
      "function":{"name":"look"}}]})");
  EXPECT_NE(std::string(tools.at("prompt").as_string()).find("look"), std::string::npos);
}

TEST_F(TokenizeTest, DetokenizeIsTheWayBack) {
  start();
  const std::string text = "hello, wörld <|im_end|>";
  const json::value back =
      answer("/detokenize", json::serialize(json::object{{"tokens", json::value_from(encode(text))}}));
  EXPECT_EQ(back.at("prompt").as_string(), text);
  EXPECT_EQ(back.at("content").as_string(), text);
  EXPECT_EQ(answer("/detokenize", R"({"tokens":[]})").at("prompt"), "");
}

TEST_F(TokenizeTest, WrongBodiesNameTheirParameter) {
  start();
  const std::tuple<const char*, const char*, const char*, const char*> kBad[] = {
      {"/tokenize", "{}", "prompt", "missing_required_parameter"},
      {"/tokenize", R"({"prompt":5})", "prompt", "invalid_type"},
      {"/tokenize", R"({"prompt":[10]})", "prompt", "invalid_type"},
      {"/tokenize", R"({"content":5})", "content", "invalid_type"},
      {"/tokenize", R"({"prompt":"a","messages":[]})", "messages", "invalid_value"},
      {"/tokenize", R"({"messages":[]})", "messages", "empty_array"},
      {"/tokenize", R"({"prompt":"a","return_token_strs":1})", "return_token_strs", "invalid_type"},
      {"/tokenize", R"({"prompt":"a","add_generation_prompt":{}})", "add_generation_prompt", "invalid_type"},
      {"/tokenize", R"({"prompt":"a","chat_template_kwargs":1})", "chat_template_kwargs", "invalid_type"},
      {"/detokenize", "{}", "tokens", "missing_required_parameter"},
      {"/detokenize", R"({"tokens":[512]})", "tokens[0]", "integer_above_max_value"},
      {"/detokenize", R"({"tokens":[-1]})", "tokens[0]", "integer_below_min_value"},
      {"/detokenize", R"({"tokens":"a"})", "tokens", "invalid_type"},
      {"/apply-template", "{}", "messages", "missing_required_parameter"},
  };
  for (const auto& [path, body, param, code] : kBad)
    expect_error(post(path, body), 400, "invalid_request_error", param, code);
  for (const char* path : {"/tokenize", "/detokenize", "/apply-template"}) {
    expect_error(post(path, R"({"model":"none","prompt":"a","tokens":[1]})"), path[1] == 'a' ? 400 : 404,
                 "invalid_request_error", path[1] == 'a' ? "messages" : "model",
                 path[1] == 'a' ? "missing_required_parameter" : "model_not_found");
    expect_error(post(path, "{"), 400, "invalid_request_error", "", "invalid_json");
  }
}

TEST_F(TokenizeTest, KeysGuardThem) {
  options.api_keys = {{.key = "secret"}};
  start();
  for (const char* path : {"/tokenize", "/detokenize", "/apply-template"})
    EXPECT_EQ(post(path, "{}").status, 401) << path;
  for (const char* path : {"/ping", "/load"}) EXPECT_EQ(get(path).status, 200) << path;
}

TEST_F(TokenizeTest, LoadCountsWhatRunsAndWaits) {
  start();
  EXPECT_EQ(parse(get("/load").body).at("server_load"), 0);
  EXPECT_EQ(parse(get("/v1/models/fake").body).at("permission").at(0).at("object"), "model_permission");
}

}  // namespace
}  // namespace pagoda::testing
