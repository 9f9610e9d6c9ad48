#include "model/config_reader.h"

#include <cmath>

#include <boost/json.hpp>

#include "base/check.h"

namespace pagoda {

namespace json = boost::json;

struct ConfigReader::Impl {
  const ModelFile* file = nullptr;
  std::string architecture;
  json::object root;
  const json::object* members = &root;  // where look-ups start
  std::optional<Error> error;

  const json::value* find(std::string_view path) const {
    const json::object* object = members;
    for (;;) {
      const size_t dot = path.find('.');
      const auto it = object->find(path.substr(0, dot));
      if (it == object->end() || it->value().is_null()) return nullptr;
      if (dot == std::string_view::npos) return &it->value();
      object = it->value().if_object();
      if (object == nullptr) return nullptr;
      path.remove_prefix(dot + 1);
    }
  }
  const MetaValue* find_meta(std::string_view key) const {
    const auto it = file->metadata().find(fmt::format("{}.{}", architecture, key));
    return it == file->metadata().end() ? nullptr : &it->second;
  }
};

ConfigReader::ConfigReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ConfigReader::ConfigReader(ConfigReader&&) noexcept = default;
ConfigReader& ConfigReader::operator=(ConfigReader&&) noexcept = default;
ConfigReader::~ConfigReader() = default;

Result<ConfigReader> ConfigReader::open(const ModelFile& file) {
  auto impl = std::make_unique<Impl>();
  impl->file = &file;
  if (file.format() == ModelFormat::gguf) {
    const std::string* architecture = file.find_string("general.architecture");
    if (architecture == nullptr)
      return fail(ErrorCode::corrupt, "{}: the metadata has no general.architecture", file.path());
    impl->architecture = *architecture;
    return ConfigReader(std::move(impl));
  }
  PAGODA_TRY(const std::string text, file.read_side_file("config.json"));
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error)
    return fail(ErrorCode::corrupt, "{}: config.json is no valid JSON ({})", file.path(), error.message());
  if (!value.is_object()) return fail(ErrorCode::corrupt, "{}: config.json is no JSON object", file.path());
  impl->root = std::move(value.get_object());
  const json::value* type = impl->find("model_type");
  if (type == nullptr || !type->is_string())
    return fail(ErrorCode::corrupt, "{}: config.json has no model_type", file.path());
  impl->architecture = std::string(type->get_string());
  return ConfigReader(std::move(impl));
}

bool ConfigReader::is_gguf() const {
  return impl_->file->format() == ModelFormat::gguf;
}
const ModelFile& ConfigReader::file() const {
  return *impl_->file;
}
const std::string& ConfigReader::architecture() const {
  return impl_->architecture;
}

bool ConfigReader::descend(std::string_view hf_member) {
  const json::value* value = impl_->find(hf_member);
  if (value == nullptr || !value->is_object()) return false;
  impl_->members = &value->get_object();
  return true;
}

bool ConfigReader::has(ConfigKey key) const {
  if (is_gguf()) return !key.gguf.empty() && impl_->find_meta(key.gguf) != nullptr;
  return !key.hf.empty() && impl_->find(key.hf) != nullptr;
}

std::string ConfigReader::name_of(ConfigKey key) const {
  return is_gguf() ? fmt::format("{}.{}", impl_->architecture, key.gguf) : std::string(key.hf);
}

std::string ConfigReader::where() const {
  return is_gguf() ? fmt::format("{}: ", impl_->file->path())
                   : fmt::format("{}/config.json: ", impl_->file->path());
}

void ConfigReader::keep_error(Error error) {
  if (!impl_->error) impl_->error = std::move(error);
}

Status ConfigReader::status() const {
  const std::optional<Error>& error = impl_->error;
  if (error) return std::unexpected(*error);
  return {};
}

std::optional<double> ConfigReader::find_number(ConfigKey key) {
  if (!has(key)) return std::nullopt;
  std::optional<double> found;
  if (is_gguf()) {
    const MetaValue* value = impl_->find_meta(key.gguf);
    if (const auto* integer = std::get_if<int64_t>(value)) found = static_cast<double>(*integer);
    if (const auto* real = std::get_if<double>(value)) found = *real;
  } else {
    const json::value* value = impl_->find(key.hf);
    if (value->is_number()) found = value->to_number<double>();
  }
  if (!found || !std::isfinite(*found)) {
    reject(ErrorCode::corrupt, "'{}' must be a finite number", name_of(key));
    return std::nullopt;
  }
  return found;
}

int64_t ConfigReader::count(ConfigKey key, int64_t max) {
  if (!has(key)) reject(ErrorCode::corrupt, "'{}' is missing", name_of(key));
  return count_or(key, max, 1);
}

int64_t ConfigReader::count_or(ConfigKey key, int64_t max, int64_t fallback) {
  const std::optional<double> value = find_number(key);
  if (!value) return fallback;
  if (*value >= 1.0 && *value <= static_cast<double>(max) && *value == std::floor(*value))
    return static_cast<int64_t>(*value);
  reject(ErrorCode::corrupt, "'{}' is {}, but must be a whole number from 1 to {}", name_of(key), *value,
         max);
  return fallback;
}

double ConfigReader::number(ConfigKey key) {
  if (!has(key)) reject(ErrorCode::corrupt, "'{}' is missing", name_of(key));
  return number_or(key, 1.0);
}

double ConfigReader::number_or(ConfigKey key, double fallback) {
  return find_number(key).value_or(fallback);
}

bool ConfigReader::flag_or(ConfigKey key, bool fallback) {
  if (!has(key)) return fallback;
  if (is_gguf()) {
    if (const auto* flag = std::get_if<bool>(impl_->find_meta(key.gguf))) return *flag;
  } else if (const bool* flag = impl_->find(key.hf)->if_bool()) {
    return *flag;
  }
  reject(ErrorCode::corrupt, "'{}' must be true or false", name_of(key));
  return fallback;
}

std::string ConfigReader::text_or(ConfigKey key, std::string_view fallback) {
  if (!has(key)) return std::string(fallback);
  if (is_gguf()) {
    if (const auto* text = std::get_if<std::string>(impl_->find_meta(key.gguf))) return *text;
  } else if (const json::string* text = impl_->find(key.hf)->if_string()) {
    return std::string(*text);
  }
  reject(ErrorCode::corrupt, "'{}' must be a string", name_of(key));
  return std::string(fallback);
}

std::vector<std::string> ConfigReader::texts(ConfigKey key) {
  std::vector<std::string> texts;
  if (!has(key)) return texts;
  if (is_gguf()) {
    if (const auto* list = std::get_if<std::vector<std::string_view>>(impl_->find_meta(key.gguf)))
      return {list->begin(), list->end()};
  } else if (const json::array* array = impl_->find(key.hf)->if_array()) {
    for (const json::value& element : *array)
      if (const json::string* text = element.if_string()) texts.emplace_back(*text);
    if (texts.size() == array->size()) return texts;
  }
  reject(ErrorCode::corrupt, "'{}' must be a list of strings", name_of(key));
  return {};
}

}  // namespace pagoda
