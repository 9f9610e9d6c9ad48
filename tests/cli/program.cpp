#include "program.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <boost/json.hpp>

namespace pagoda::testing {

namespace {

void redirect(int stream, const std::string& path, int flags) {
  const int file = open(path.c_str(), flags, 0600);
  if (file < 0 || dup2(file, stream) < 0) _exit(127);
  close(file);
}

// Ends a program that would run for ever.
void terminate_at(pid_t child, const std::string& out_path, const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (read_file(out_path).find(text) == std::string::npos && std::chrono::steady_clock::now() < deadline) {
    // Once it has ended by itself there is nothing to wait for; it stays a zombie until it is reaped.
    siginfo_t info = {};
    waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT);
    if (info.si_pid == child) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill(child, SIGTERM);
}

}  // namespace

ProgramResult run_program(const std::vector<std::string>& words, const ProgramOptions& options) {
  const TemporaryFolder folder;
  const std::string input = folder.write("in", options.input);
  const std::string out = options.output.empty() ? folder.file("out") : options.output;
  const std::string err = folder.file("err");
  std::vector<std::string> all = {PAGODA_BINARY};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
    redirect(STDIN_FILENO, input, O_RDONLY);
    redirect(STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC);
    redirect(STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC);
    execv(argv[0], argv.data());
    _exit(127);
  }
  if (!options.terminate_at.empty()) terminate_at(child, out, options.terminate_at);
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, options.output.empty() ? read_file(out) : "",
          read_file(err)};
}

std::string tiny_model() {
  return PAGODA_TEST_DATA "/models/llama_gqa";
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = ::testing::TempDir() + "/pagoda_cli_XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) std::abort();
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(const std::string& name, const std::string& contents) const {
  std::filesystem::create_directories((path_ / name).parent_path());
  std::ofstream(path_ / name, std::ios::binary) << contents;
  return file(name);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<boost::json::value> parse_lines(const std::string& text) {
  std::vector<boost::json::value> values;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    boost::json::error_code error;
    values.push_back(boost::json::parse(std::string_view(text).substr(begin, end - begin), error));
    EXPECT_FALSE(error) << text.substr(begin, end - begin);
    begin = end + 1;
  }
  return values;
}

void expect_one_sentence(const ProgramResult& result, const std::string& expected_part) {
  EXPECT_EQ(result.exit_code, 1) << result.out << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("pagoda: error: ")) << result.err;
  EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
  EXPECT_NE(result.err.find(expected_part), std::string::npos) << result.err;
}

}  // namespace pagoda::testing
