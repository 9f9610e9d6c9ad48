// Log lines for machines: JSON, and events with fields. Beside log.h, which nearly every file includes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "base/log.h"

namespace pagoda {

// json: one object a line, with the keys time, level and message or event.
enum class LogFormat { text, json };

// Call once at start, instead of the one of log.h.
void init_logging(LogLevel level, LogFormat format);

struct LogField {
  std::string_view name;
  std::variant<std::string_view, int64_t, double> value;
};

// A line for people and machines: "NAME field=value …", or a JSON object with the fields as keys. Level info.
void log_event(std::string_view name, std::span<const LogField> fields);

}  // namespace pagoda
