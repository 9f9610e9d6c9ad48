#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "engine/engine_config.h"

namespace pagoda {

namespace {

namespace fs = std::filesystem;

std::optional<std::string> read_file(const fs::path& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The first number in a text; nothing if there is none ("max").
std::optional<uint64_t> first_number(std::string_view text) {
  const size_t begin = text.find_first_of("0123456789");
  if (begin == std::string_view::npos) return std::nullopt;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + begin, text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  return number;
}

std::optional<uint64_t> read_number(const fs::path& path) {
  const auto text = read_file(path);
  return text ? first_number(*text) : std::nullopt;
}

// The number after `key` at the start of a line: "MemAvailable:  1234 kB", "inactive_file 4096".
std::optional<uint64_t> read_field(const fs::path& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return first_number(std::string_view(line).substr(key.size()));
  return std::nullopt;
}

// Names of the files of one version of control groups.
struct CgroupFiles {
  const char* limit;
  const char* usage;
  const char* reclaimable;  // field of memory.stat: page cache that the kernel drops before it refuses memory
};
constexpr CgroupFiles kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "};
constexpr CgroupFiles kVersion2 = {"memory.max", "memory.current", "inactive_file "};

// What the limit of one group leaves; nothing if it has none.
std::optional<uint64_t> memory_left(const fs::path& group, const CgroupFiles& files) {
  const auto limit = read_number(group / files.limit);
  if (!limit) return std::nullopt;
  const uint64_t usage = read_number(group / files.usage).value_or(0);
  const uint64_t reclaimable = read_field(group / "memory.stat", files.reclaimable).value_or(0);
  const uint64_t held = usage - std::min(usage, reclaimable);
  return *limit - std::min(*limit, held);
}

// Calls visit(folder) for a group and all above it. In a container the path may lie outside of what is
// mounted; then the mount itself is the group.
template <class Visit>
void visit_groups(const fs::path& mount, const std::string& group, Visit visit) {
  fs::path relative = fs::path(group).relative_path().lexically_normal();
  while (!relative.empty() && relative != ".") {
    if (fs::path folder = mount / relative; fs::exists(folder)) visit(folder);
    relative = relative.parent_path();
  }
  visit(mount);
}

struct CgroupLimits {
  uint64_t memory = UINT64_MAX;
  double cores = 1e9;

  void add_memory(std::optional<uint64_t> left) { memory = std::min(memory, left.value_or(UINT64_MAX)); }
  void add_cores(std::optional<double> quota) { cores = std::min(cores, quota.value_or(cores)); }
};

// cpu.max: "200000 100000" or "max 100000".
std::optional<double> cores_of_version2(const fs::path& group) {
  std::ifstream file(group / "cpu.max");
  double quota = 0;
  double period = 0;
  if (!(file >> quota >> period) || period <= 0) return std::nullopt;
  return quota / period;
}

std::optional<double> cores_of_version1(const fs::path& group) {
  std::ifstream file(group / "cpu.cfs_quota_us");
  double quota = 0;  // -1: none
  const auto period = read_number(group / "cpu.cfs_period_us");
  if (!(file >> quota) || quota <= 0 || !period || *period == 0) return std::nullopt;
  return quota / static_cast<double>(*period);
}

// Lines of /proc/self/cgroup: "0::/path" (version 2), "4:memory:/path" or "3:cpu,cpuacct:/path" (version 1).
CgroupLimits read_cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  const fs::path mount = root / "sys/fs/cgroup";
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      visit_groups(mount, group, [&](const fs::path& folder) {
        limits.add_memory(memory_left(folder, kVersion2));
        limits.add_cores(cores_of_version2(folder));
      });
    } else if (controllers.find(",memory,") != std::string::npos) {
      visit_groups(mount / "memory", group,
                   [&](const fs::path& folder) { limits.add_memory(memory_left(folder, kVersion1)); });
    } else if (controllers.find(",cpu,") != std::string::npos) {
      visit_groups(mount / "cpu", group,
                   [&](const fs::path& folder) { limits.add_cores(cores_of_version1(folder)); });
    }
  }
  return limits;
}

}  // namespace

MachineInfo inspect_machine(const std::filesystem::path& root) {
  MachineInfo machine;
  machine.cpu = detect_cpu();
  const CgroupLimits limits = read_cgroup_limits(root);
  const uint64_t available = read_field(root / "proc/meminfo", "MemAvailable:").value_or(0) * 1024;
  machine.available_memory = std::min(available, limits.memory);
  // Rounded down: a spinning thread beyond the quota would get all of them throttled.
  const int quota = static_cast<int>(std::min(limits.cores, 1e6));
  machine.cpu.num_cores = std::clamp(machine.cpu.num_cores, 1, std::max(quota, 1));
  return machine;
}

}  // namespace pagoda
