#include "base/log_event.h"

#include <ctime>
#include <iterator>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <spdlog/formatter.h>

#include "base/json_text.h"

namespace pagoda {
namespace {

constexpr const char* kEvents = "pagoda.events";  // exists in JSON only; its lines are members of an object

std::string utc_time(spdlog::log_clock::time_point time) {
  const auto since_epoch = time.time_since_epoch();
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
  const std::time_t seconds = milliseconds / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, milliseconds % 1000);
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::string_view payload(message.payload.data(), message.payload.size());
    const spdlog::string_view_t level = spdlog::level::to_string_view(message.level);
    std::string line = fmt::format(R"({{"time":"{}","level":"{}",)", utc_time(message.time),
                                   std::string_view(level.data(), level.size()));
    if (std::string_view(message.logger_name.data(), message.logger_name.size()) == kEvents) {
      line += payload;
    } else {
      line += R"("message":)";
      append_json_string(line, payload);
    }
    line += "}\n";
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

void append_value(std::string& out, const LogField& field, LogFormat format) {
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    if (format == LogFormat::json)
      append_json_string(out, *text);
    else
      out += *text;
  } else if (const auto* number = std::get_if<int64_t>(&field.value)) {
    out += std::to_string(*number);
  } else {
    fmt::format_to(std::back_inserter(out), "{:.3f}", std::get<double>(field.value));
  }
}

}  // namespace

void init_logging(LogLevel level, LogFormat format) {
  init_logging(level);
  spdlog::drop(kEvents);
  if (format == LogFormat::text) return;
  const auto lines = spdlog::default_logger();
  lines->set_formatter(std::make_unique<JsonFormatter>());
  auto events = std::make_shared<spdlog::logger>(kEvents, lines->sinks().begin(), lines->sinks().end());
  events->set_level(lines->level());
  spdlog::register_logger(events);
}

void log_event(std::string_view name, std::span<const LogField> fields) {
  const auto events = spdlog::get(kEvents);
  std::string line;
  if (!events) {
    line = name;
    for (const LogField& field : fields) {
      fmt::format_to(std::back_inserter(line), " {}=", field.name);
      append_value(line, field, LogFormat::text);
    }
    return spdlog::info("{}", line);
  }
  line = R"("event":)";
  append_json_string(line, name);
  for (const LogField& field : fields) {
    fmt::format_to(std::back_inserter(line), R"(,"{}":)", field.name);
    append_value(line, field, LogFormat::json);
  }
  events->info("{}", line);
}

}  // namespace pagoda
