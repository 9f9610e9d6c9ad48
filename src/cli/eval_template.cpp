#include <algorithm>

#include <boost/json.hpp>

#include "cli/input_file.h"
#include "cli/json.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "model/vocabulary.h"
#include "text/chat_template.h"

namespace pagoda {

namespace {

// Collects the template's variables as one JSON object; the first member of a name wins.
class ContextBuilder {
 public:
  void add(const std::string& name, std::string_view json_text) {
    if (std::ranges::find(names_, name) != names_.end()) return;
    names_.push_back(name);
    text_ += text_.empty() ? "{" : ", ";
    text_ += to_json(boost::json::value(name));
    text_ += ": ";
    text_ += json_text;
  }
  void add_string(const std::string& name, const std::string& value) {
    add(name, to_json(boost::json::value(value)));
  }
  std::string finish() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::vector<std::string> names_;
  std::string text_;
};

Result<std::string> build_context(std::string_view line, const Tokenizer& tokenizer) {
  PAGODA_TRY(const JsonMembers members, split_json_object(line));
  ContextBuilder context;
  for (const auto& [name, value] : members) {
    if (name == "kwargs") {
      PAGODA_TRY(const JsonMembers variables, split_json_object(value));
      for (const auto& [variable, variable_value] : variables) context.add(variable, variable_value);
    } else if (name == "messages" || name == "tools" || name == "documents" ||
               name == "add_generation_prompt") {
      context.add(name, value);
    }
  }
  context.add("add_generation_prompt", "true");
  context.add_string("bos_token", tokenizer.token_text(tokenizer.bos_id()));
  context.add_string("eos_token", tokenizer.token_text(tokenizer.eos_id()));
  context.add_string("pad_token", tokenizer.token_text(tokenizer.pad_id()));
  return context.finish();
}

}  // namespace

Status execute(const EvalTemplateArguments& arguments) {
  PAGODA_TRY(const auto file, open_model(arguments.model));
  PAGODA_TRY(const auto tokenizer, load_tokenizer(*file));
  std::string source;
  if (arguments.template_file.empty()) {
    PAGODA_TRY(source, load_chat_template_source(*file));
  } else {
    PAGODA_TRY(source, read_input_file(arguments.template_file));
  }
  PAGODA_TRY(const ChatTemplate chat_template, ChatTemplate::compile(source));
  return for_each_line(arguments.chats, [&](std::string_view line) -> Status {
    PAGODA_TRY(const std::string context, build_context(line, *tokenizer));
    const Result<std::string> rendered = chat_template.render(context);
    if (rendered)
      print_line(to_json({{"rendered", *rendered}}));
    else
      print_line(to_json({{"error", rendered.error().message}}));
    return {};
  });
}

}  // namespace pagoda
