// The look of --help: one column of names, one of wrapped descriptions that end with the default. Includes
// CLI11, so only command_line.cpp should include it.
#pragma once

#include <sstream>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

namespace pagoda {

class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    std::string name = "  " + (is_positional ? option->get_name(true) : make_option_name(option, false));
    if (!is_positional && !option->get_type_name().empty()) name += " " + type_of(*option);
    return in_columns(name, description_of(*option));
  }
  std::string make_subcommand(const CLI::App* app) const override {
    return in_columns("  " + app->get_name(), app->get_description());
  }

 private:
  static constexpr size_t kNameWidth = 28;
  static constexpr size_t kLineWidth = 100;

  // Validators append their own words after a colon.
  static std::string type_of(const CLI::Option& option) {
    const std::string type = option.get_type_name();
    return type.substr(0, type.find(':'));
  }
  static std::string description_of(const CLI::Option& option) {
    std::string text = option.get_description();
    std::string default_text = option.get_default_str();
    if (default_text.starts_with('[') && default_text.ends_with(']'))  // a list
      default_text = default_text.substr(1, default_text.size() - 2);
    if (!default_text.empty()) text += " (default: " + default_text + ")";
    if (option.get_required()) text += " (required)";
    return text;
  }
  static std::string in_columns(const std::string& name, const std::string& description) {
    std::string out = name;
    size_t column = name.size();
    if (name.size() + 1 > kNameWidth) {
      out += '\n';
      column = 0;
    }
    out.append(kNameWidth - column, ' ');
    column = kNameWidth;
    std::istringstream words(description);
    for (std::string word; words >> word;) {
      if (column > kNameWidth && column + 1 + word.size() > kLineWidth) {
        out += '\n' + std::string(kNameWidth, ' ');
        column = kNameWidth;
      }
      const std::string_view gap = column > kNameWidth ? " " : "";
      out.append(gap).append(word);
      column += gap.size() + word.size();
    }
    return out + '\n';
  }
};

}  // namespace pagoda
