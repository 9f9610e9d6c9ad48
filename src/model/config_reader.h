// The configuration of a model, read by name from either format: config.json of a Hugging Face folder (as old
// and new transformers write it) or the metadata of a GGUF file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/result.h"
#include "io/model_file.h"

namespace pagoda {

// The same value's names. hf: a path of member names joined by dots ("rope_parameters.rope_theta"); gguf: a
// key without the architecture's prefix ("rope.freq_base"). Empty where a format has no such value.
struct ConfigKey {
  std::string_view hf;
  std::string_view gguf;
};

// Getters never fail at once: the first error is kept, a harmless value is returned, and status() tells at
// the end. So an architecture reads as a list of fields. A null member counts as absent.
class ConfigReader {
 public:
  // not_found without config.json or general.architecture, corrupt if it is no JSON object.
  static Result<ConfigReader> open(const ModelFile& file);
  ConfigReader(ConfigReader&&) noexcept;
  ConfigReader& operator=(ConfigReader&&) noexcept;
  ~ConfigReader();

  bool is_gguf() const;
  const ModelFile& file() const;
  // model_type or general.architecture.
  const std::string& architecture() const;
  // From here on, members of this object are read (models that nest their text part). False if there is none.
  bool descend(std::string_view hf_member);

  bool has(ConfigKey key) const;
  // Whole numbers in [1, max].
  int64_t count(ConfigKey key, int64_t max);
  int64_t count_or(ConfigKey key, int64_t max, int64_t fallback);
  // Finite numbers.
  double number(ConfigKey key);
  double number_or(ConfigKey key, double fallback);
  bool flag_or(ConfigKey key, bool fallback);
  std::string text_or(ConfigKey key, std::string_view fallback);
  // Empty if absent.
  std::vector<std::string> texts(ConfigKey key);

  template <class... Args>
  void reject(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
    keep_error({code, where() + fmt::format(format, std::forward<Args>(args)...)});
  }
  Status status() const;

 private:
  struct Impl;
  explicit ConfigReader(std::unique_ptr<Impl> impl);
  void keep_error(Error error);
  std::string where() const;  // "path: "
  std::optional<double> find_number(ConfigKey key);
  std::string name_of(ConfigKey key) const;

  std::unique_ptr<Impl> impl_;
};

}  // namespace pagoda
