// The process as the kernel sees it, under the names that Prometheus clients use everywhere.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "server/metrics.h"

namespace pagoda {
namespace {

struct ProcessStat {
  double cpu_seconds = 0;
  double start_ticks = 0;  // after boot
  double virtual_bytes = 0;
  double resident_bytes = 0;
  int64_t num_threads = 0;
};

// proc(5): the fields after the command's name, which may hold anything, start at the third.
ProcessStat read_stat() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  double user = 0, system = 0, resident_pages = 0;
  ProcessStat stat;
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    const double value = std::strtod(field.c_str(), nullptr);
    switch (number) {
      case 14:
        user = value;
        break;
      case 15:
        system = value;
        break;
      case 20:
        stat.num_threads = static_cast<int64_t>(value);
        break;
      case 22:
        stat.start_ticks = value;
        break;
      case 23:
        stat.virtual_bytes = value;
        break;
      case 24:
        resident_pages = value;
        break;
      default:
        break;
    }
  }
  stat.cpu_seconds = (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  stat.resident_bytes = resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  return stat;
}

// Seconds that the process's threads stood in run queues, ready, while other work had the processors: the
// second field of schedstat, in nanoseconds, of each thread.
double run_queue_wait_seconds() {
  double nanoseconds = 0;
  std::error_code ec;
  for (auto entry = std::filesystem::directory_iterator("/proc/self/task", ec);
       !ec && entry != std::filesystem::directory_iterator(); entry.increment(ec)) {
    std::ifstream file(entry->path() / "schedstat");
    double running = 0, waiting = 0;
    if (file >> running >> waiting) nanoseconds += waiting;
  }
  return nanoseconds * 1e-9;
}

// Seconds that a hypervisor gave to other guests, all processors together: the eighth number of the first
// line.
double machine_steal_seconds() {
  std::ifstream file("/proc/stat");
  std::string field;
  file >> field;
  for (int number = 1; number <= 8; ++number)
    if (!(file >> field)) return 0;
  return std::strtod(field.c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double boot_time() {
  std::ifstream file("/proc/stat");
  for (std::string key; file >> key;) {
    double value = 0;
    if (key == "btime" && file >> value) return value;
  }
  return 0;
}

int64_t count_open_files() {
  std::error_code ec;
  int64_t count = 0;
  for (auto entry = std::filesystem::directory_iterator("/proc/self/fd", ec);
       !ec && entry != std::filesystem::directory_iterator(); entry.increment(ec))
    ++count;
  return count - 1;  // the directory itself
}

void append(std::string& out, std::string_view name, std::string_view type, std::string_view help,
            double value) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n{} {}\n", name, help, name, type, name, value);
}

}  // namespace

std::string process_metrics_text() {
  const ProcessStat stat = read_stat();
  const double start = boot_time() + stat.start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  std::string out;
  append(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
         stat.resident_bytes);
  append(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", stat.virtual_bytes);
  append(out, "process_cpu_seconds_total", "counter", "User and system CPU time spent in seconds.",
         stat.cpu_seconds);
  append(out, "process_open_fds", "gauge", "Number of open file descriptors.",
         static_cast<double>(count_open_files()));
  append(out, "process_threads", "gauge", "Number of threads.", static_cast<double>(stat.num_threads));
  append(
      out, "pagoda_run_queue_wait_seconds_total", "counter",
      "Time that this process's threads were ready to run while other processes had the cores, in seconds.",
      run_queue_wait_seconds());
  append(out, "pagoda_machine_steal_seconds_total", "counter",
         "Time that the hypervisor took from all cores of this machine, in seconds.",
         machine_steal_seconds());
  append(out, "process_start_time_seconds", "gauge", "Start time since the Unix epoch in seconds.", start);
  return out;
}

}  // namespace pagoda
