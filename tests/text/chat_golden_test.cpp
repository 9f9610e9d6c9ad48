// Every golden chat in every golden template: the rendered text, or that there is an error.
#include <map>

#include <gtest/gtest.h>

#include "text/chat_template.h"
#include "text/golden_file.h"

namespace pagoda::testing {
namespace {

using boost::json::object;

std::map<std::string, object> read_chats() {
  std::map<std::string, object> chats;
  for (object& chat : read_json_lines("chats/chats.jsonl")) {
    const std::string name = string_of(chat, "name");
    chats.emplace(name, std::move(chat));
  }
  return chats;
}

std::string context_of(const object& chat, const object& tokens) {
  object context;
  context["messages"] = chat.at("messages");
  for (const char* name : {"tools", "documents"})
    if (chat.contains(name)) context[name] = chat.at(name);
  context["add_generation_prompt"] = true;
  if (chat.contains("add_generation_prompt"))
    context["add_generation_prompt"] = chat.at("add_generation_prompt");
  for (const auto& token : tokens) context[token.key()] = token.value();
  if (chat.contains("kwargs"))
    for (const auto& variable : chat.at("kwargs").as_object()) context[variable.key()] = variable.value();
  return boost::json::serialize(context);
}

class ChatGoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ChatGoldenTest, RendersEveryChat) {
  const auto compiled = ChatTemplate::compile(read_test_file("chats/templates/" + GetParam() + ".jinja"));
  ASSERT_TRUE(compiled) << compiled.error().message;
  const std::map<std::string, object> chats = read_chats();
  for (const object& record : read_json_lines("chats/rendered." + GetParam() + ".jsonl")) {
    const std::string name = string_of(record, "chat");
    const auto rendered = compiled->render(context_of(chats.at(name), record.at("tokens").as_object()));
    if (record.contains("rendered")) {
      EXPECT_TRUE(rendered) << name << ": " << rendered.error().message;
      if (!rendered) continue;
      EXPECT_EQ(*rendered, string_of(record, "rendered")) << name;
    } else {
      ASSERT_FALSE(rendered) << name << " should fail: " << record.at("error") << "\n" << *rendered;
      EXPECT_EQ(rendered.error().code, ErrorCode::invalid_argument);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, ChatGoldenTest,
                         ::testing::Values("smollm2", "qwen2.5-coder", "qwen2.5-coder-1.5b", "header_tools",
                                           "macros_and_filters", "reasoning", "strict_turns"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::erase_if(name, [](char c) { return c == '.' || c == '-'; });
                           return name;
                         });

}  // namespace
}  // namespace pagoda::testing
