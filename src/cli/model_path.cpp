#include "cli/model_path.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include <fmt/ranges.h>

namespace pagoda {

namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string letters_and_digits(std::string_view text) {
  std::string kept;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)))
      kept += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return kept;
}

// Files and folders that may be models, by name.
std::vector<std::string> list_models(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at->path().extension() == ".gguf" || fs::exists(at->path() / "config.json", ignored))
      names.push_back(at->path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

std::string model_cache_folder() {
  if (std::string folder = environment("PAGODA_MODELS"); !folder.empty()) return folder;
  std::string cache = environment("XDG_CACHE_HOME");
  if (cache.empty()) cache = environment("HOME") + "/.cache";
  return cache + "/pagoda/models";
}

Result<std::string> find_model(const std::string& name, const std::string& folder) {
  std::error_code error;
  if (fs::exists(name, error)) return name;
  if (name.find('/') != std::string::npos)
    return fail(ErrorCode::not_found,
                "{}: no such file or folder; give a .gguf file or a Hugging Face folder", name);
  const std::vector<std::string> models = list_models(folder);
  std::vector<std::string> matches;
  const std::string wanted = letters_and_digits(name);
  for (const std::string& model : models) {
    if (model == name) return fmt::format("{}/{}", folder, model);
    if (!wanted.empty() && letters_and_digits(model).starts_with(wanted)) matches.push_back(model);
  }
  if (matches.size() == 1) return fmt::format("{}/{}", folder, matches.front());
  if (matches.size() > 1)
    return fail(ErrorCode::not_found, "'{}' may be {}; write more of the name", name,
                fmt::join(matches, " or "));
  if (models.empty())
    return fail(ErrorCode::not_found, "'{}' is no file, and {} holds no models; 'make run' downloads one",
                name, folder);
  return fail(ErrorCode::not_found, "'{}' is no file, and {} holds only {}", name, folder,
              fmt::join(models, ", "));
}

}  // namespace pagoda
