// /openapi.json and the routes say the same.
#include <set>

#include <boost/json.hpp>

#include "server/endpoint.h"
#include "server/server_fixture.h"

namespace pagoda::testing {
namespace {

namespace json = boost::json;

class OpenApiTest : public ServerFixture {
 protected:
  json::object document() {
    const HttpReply reply = get("/openapi.json");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.headers.at("content-type"), "application/json");
    return parse(reply.body).as_object();
  }
};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(c | 0x20);
  return result;
}

TEST_F(OpenApiTest, EveryRouteIsDescribedAndNothingElse) {
  start_without_model();
  const json::object paths = document().at("paths").as_object();
  std::set<std::string> described;
  for (const auto& [path, item] : paths)
    for (const auto& [method, operation] : item.as_object())
      described.insert(std::string(method) + " " + std::string(path));
  std::set<std::string> served;
  for (const Route& route : all_routes()) {
    std::string path(route.path);
    if (path.ends_with("/*")) path.replace(path.size() - 1, 1, "{model}");
    served.insert(lower(route.method) + " " + path);
  }
  EXPECT_EQ(described, served);
}

TEST_F(OpenApiTest, KeysAreAskedForWhereTheRoutesDo) {
  start_without_model();
  const json::object paths = document().at("paths").as_object();
  for (const Route& route : all_routes()) {
    std::string path(route.path);
    if (path.ends_with("/*")) path.replace(path.size() - 1, 1, "{model}");
    const json::object& operation = paths.at(path).at(lower(route.method)).as_object();
    const bool with_key = route.access == Route::Access::key;
    EXPECT_EQ(operation.contains("security"), with_key) << path;
    const json::object& responses = operation.at("responses").as_object();
    EXPECT_EQ(responses.contains("401"), with_key) << path;
    EXPECT_TRUE(route.needs != Route::Needs::model || responses.contains("503")) << path;
  }
}

// Every field of a body that the document has anywhere, sent to every endpoint: where it is not described, it
// is counted as unknown, and nowhere else.
class OpenApiFieldsTest : public OpenApiTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(OpenApiFieldsTest, AreThoseThatAreRead) {
  start();
  const json::object all = document();
  const json::object& schemas = all.at("components").at("schemas").as_object();
  const auto request_schema = [&](const json::object& operation) -> const json::object& {
    const json::value& reference =
        operation.at("requestBody").at("content").at("application/json").at("schema");
    std::string_view name = reference.at("$ref").as_string();
    name.remove_prefix(name.rfind('/') + 1);
    return schemas.at(name).as_object();
  };
  std::set<std::string> names;
  for (const auto& [path, item] : all.at("paths").as_object())
    if (const json::value* operation = item.as_object().if_contains("post"))
      for (const auto& property : request_schema(operation->as_object()).at("properties").as_object())
        names.emplace(property.key());
  EXPECT_GT(names.size(), 80u);
  const json::object& schema = request_schema(all.at("paths").at(GetParam()).at("post").as_object());
  const json::object& example = schema.at("example").as_object();
  const json::object& properties = schema.at("properties").as_object();
  const auto num_unknown = [&] { return std::max(0.0, metric("pagoda_unknown_request_fields_total")); };
  for (const std::string& name : names) {
    if (example.contains(name)) continue;
    json::object body = example;
    body[name] = nullptr;
    const double before = num_unknown();
    const HttpReply reply = post(GetParam(), json::serialize(body));
    ASSERT_EQ(reply.status, 200) << name << ": " << reply.body;
    EXPECT_EQ(num_unknown() - before, properties.contains(name) ? 0 : 1) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, OpenApiFieldsTest,
                         ::testing::Values("/v1/chat/completions", "/v1/completions", "/v1/responses",
                                           "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings",
                                           "/tokenize", "/v1/predict", "/detokenize", "/apply-template"));

// The target of a reference like "#/components/schemas/Error".
bool resolves(const json::value& document, std::string_view reference) {
  const json::value* node = &document;
  if (!reference.starts_with("#/")) return false;
  reference.remove_prefix(2);
  while (!reference.empty()) {
    const size_t end = std::min(reference.find('/'), reference.size());
    const json::object* object = node->if_object();
    node = object ? object->if_contains(reference.substr(0, end)) : nullptr;
    if (!node) return false;
    reference.remove_prefix(std::min(end + 1, reference.size()));
  }
  return true;
}

void expect_references_resolve(const json::value& document, const json::value& node) {
  if (const json::object* object = node.if_object()) {
    for (const auto& [name, value] : *object) {
      if (name == "$ref") {
        EXPECT_TRUE(resolves(document, value.as_string())) << value;
      } else {
        expect_references_resolve(document, value);
      }
    }
  } else if (const json::array* array = node.if_array()) {
    for (const json::value& value : *array) expect_references_resolve(document, value);
  }
}

TEST_F(OpenApiTest, IsWholeInItself) {
  start_without_model();
  const json::value all = document();
  EXPECT_EQ(all.at("openapi"), "3.1.0");
  EXPECT_EQ(all.at("info").at("version"), PAGODA_VERSION);
  expect_references_resolve(all, all);
}

}  // namespace
}  // namespace pagoda::testing
