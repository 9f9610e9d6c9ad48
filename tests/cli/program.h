// Runs the built program and reads what it says.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <boost/json/value.hpp>

namespace pagoda::testing {

struct ProgramResult {
  int exit_code = -1;  // -1: ended by a signal
  std::string out;
  std::string err;
};

struct ProgramOptions {
  std::string input;   // standard input
  std::string output;  // file that standard output goes to; empty: ProgramResult::out
  std::vector<std::pair<std::string, std::string>> environment;  // beside the test's own
  std::string terminate_at;  // SIGTERM once standard output holds this text, or after a minute; empty: never
};

// Without a shell: words are passed as they are.
ProgramResult run_program(const std::vector<std::string>& words, const ProgramOptions& options = {});

// The tiny llama of the golden models: grouped-query attention, tokenizer, chat template.
std::string tiny_model();

// A folder of its own for the running test, removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  // Writes a file and returns its path.
  std::string write(const std::string& name, const std::string& contents) const;

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::string& path);

// Each line of text parsed; a failed test and a null where a line is no JSON.
std::vector<boost::json::value> parse_lines(const std::string& text);

// Fails the test unless the program ended with 1, printed nothing, and explained itself in one line on
// standard error.
void expect_one_sentence(const ProgramResult& result, const std::string& expected_part);

}  // namespace pagoda::testing
