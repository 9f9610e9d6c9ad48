#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

namespace pagoda {

void init_logging(LogLevel level) {
  auto logger = spdlog::get("pagoda");
  if (!logger) logger = spdlog::stderr_color_mt("pagoda", spdlog::color_mode::automatic);
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  switch (level) {
    case LogLevel::debug:
      logger->set_level(spdlog::level::debug);
      break;
    case LogLevel::info:
      logger->set_level(spdlog::level::info);
      break;
    case LogLevel::warning:
      logger->set_level(spdlog::level::warn);
      break;
    case LogLevel::error:
      logger->set_level(spdlog::level::err);
      break;
    case LogLevel::off:
      logger->set_level(spdlog::level::off);
      break;
  }
  spdlog::set_default_logger(logger);
}

}  // namespace pagoda
