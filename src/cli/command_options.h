// Options that several commands have, and how a subcommand becomes a Command. Includes CLI11, so only the
// files that define commands should include it.
#pragma once

#include <charconv>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <CLI/CLI.hpp>

#include "cli/arguments.h"

namespace pagoda {

// Makes the Command of the subcommand that was chosen.
using CommandMaker = std::function<Command()>;

// A subcommand whose arguments become the Command.
template <class Arguments>
CLI::App& add_command(CLI::App& parent, CommandMaker& make, const char* name, const char* description,
                      const std::shared_ptr<Arguments>& arguments, const char* examples) {
  CLI::App& app = *parent.add_subcommand(name, description);
  app.footer(std::string("Examples:\n") + examples);
  app.callback([&make, arguments] { make = [arguments] { return Command(std::move(*arguments)); }; });
  return app;
}

// Text -> value where the text needs more than a number; what the parser says becomes a usage error.
template <class T>
std::function<void(const std::string&)> into(T& target, Result<T> (*parse)(std::string_view),
                                             const char* option) {
  return [&target, parse, option](const std::string& text) {
    Result<T> value = parse(text);
    if (!value) throw CLI::ValidationError(option, value.error().message);
    target = std::move(*value);
  };
}

// The value of that name; an error that lists the names where there is none.
template <class T>
Result<T> pick(std::string_view text, std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (name == text) return value;
    names += names.empty() ? "" : ", ";
    names += name;
  }
  return fail(ErrorCode::invalid_argument, "'{}' is none of {}", text, names);
}

// Refuses what is no number of the option's type T in these bounds, both included; NaN is in none.
template <class T>
CLI::Validator number_between(T least, T most = std::numeric_limits<T>::max()) {
  const auto check = [least, most](std::string& text) -> std::string {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_number = error == std::errc() && end == text.data() + text.size();
    if (is_number && value >= least && value <= most) return {};
    const char* kind = std::is_integral_v<T> ? "whole number" : "number";
    const bool is_large = error == std::errc::result_out_of_range && !text.starts_with('-');
    return most < std::numeric_limits<T>::max() || is_large
               ? fmt::format("'{}' is no {} from {} to {}", text, kind, least, most)
               : fmt::format("'{}' is no {} of at least {}", text, kind, least);
  };
  return {check, ""};
}

// Without the slash at its end; "/" is the same as none.
Result<std::string> parse_root_path(std::string_view text);
Result<LogFormat> parse_log_format(std::string_view text);

void add_model_name(CLI::App& app, std::string& model);
void add_threads(CLI::App& app, int& num_threads);
void add_policy(CLI::App& app, std::string& policy);
// Sets the default, 100 ms.
void add_max_step(CLI::App& app, std::optional<double>& max_step_ms);
// The model and the engine's options of every command that loads one.
void add_model_options(CLI::App& app, ModelArguments& model, const char* default_log_level);
void add_reference_kv_type(CLI::App& app, std::optional<KvType>& type);
void add_json(CLI::App& app, bool& json, const char* description);
void add_chunk(CLI::App& app, int32_t& chunk);

// serve_command_line.cpp
void add_serve_command(CLI::App& app, CommandMaker& make);
// bench_command_line.cpp: `bench` with its subcommands.
void add_bench_commands(CLI::App& app, CommandMaker& make);
// trace/trace_command_line.cpp: `bench trace` and `simulate`.
void add_bench_trace(CLI::App& bench, CommandMaker& make);
void add_simulate_command(CLI::App& app, CommandMaker& make);
// cache_command_line.cpp: `cache` with its subcommands.
void add_cache_commands(CLI::App& app, CommandMaker& make);

}  // namespace pagoda
