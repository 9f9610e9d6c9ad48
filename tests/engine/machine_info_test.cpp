#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/engine_config.h"

namespace pagoda {
namespace {

namespace fs = std::filesystem;

// A folder that stands for the root of a machine.
class MachineInfoTest : public ::testing::Test {
 protected:
  MachineInfoTest() {
    write("proc/meminfo", "MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable:   8000 kB\n");
  }
  ~MachineInfoTest() override { fs::remove_all(root_); }
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  uint64_t memory() const { return inspect_machine(root_).available_memory; }

  const fs::path root_ = fs::path(::testing::TempDir()) / ("pagoda_machine_" + std::to_string(getpid()));
};

TEST_F(MachineInfoTest, WithoutControlGroups) {
  EXPECT_EQ(memory(), 8000u * 1024);
  EXPECT_EQ(inspect_machine(root_).cpu.num_cores, detect_cpu().num_cores);
}

TEST_F(MachineInfoTest, Version2LimitsLessWhatIsUsed) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "5000000\n");
  write("sys/fs/cgroup/a/b/memory.current", "3000000\n");
  write("sys/fs/cgroup/a/b/memory.stat", "anon 1000\ninactive_file 500000\n");
  EXPECT_EQ(memory(), 2500000u);
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  EXPECT_EQ(memory(), 8000u * 1024);
  write("sys/fs/cgroup/a/memory.max", "4000000\n");
  write("sys/fs/cgroup/a/memory.current", "4500000\n");
  EXPECT_EQ(memory(), 0u) << "groups above count, too";
}

TEST_F(MachineInfoTest, InAContainerTheMountIsTheGroup) {
  write("proc/self/cgroup", "0::/../elsewhere\n");
  write("sys/fs/cgroup/memory.max", "1000000\n");
  EXPECT_EQ(memory(), 1000000u);
}

TEST_F(MachineInfoTest, Version1) {
  write("proc/self/cgroup", "7:cpu,cpuacct:/c\n5:memory:/m\n1:name=systemd:/\n");
  write("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "6000000\n");
  write("sys/fs/cgroup/memory/m/memory.usage_in_bytes", "1000000\n");
  write("sys/fs/cgroup/memory/m/memory.stat", "total_inactive_file 400000\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "150000\n");
  write("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(memory(), 5400000u);
  EXPECT_EQ(inspect_machine(root_).cpu.num_cores, 1);
}

TEST_F(MachineInfoTest, QuotaOfCores) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(inspect_machine(root_).cpu.num_cores, 1);
  for (const char* unlimited : {"max 100000\n", "100000000 100000\n", "", "nonsense"}) {
    write("sys/fs/cgroup/cpu.max", unlimited);
    EXPECT_EQ(inspect_machine(root_).cpu.num_cores, detect_cpu().num_cores) << unlimited;
  }
}

TEST_F(MachineInfoTest, ThisMachineHasMemory) {
  EXPECT_GT(inspect_machine().available_memory, 0u);
}

}  // namespace
}  // namespace pagoda
