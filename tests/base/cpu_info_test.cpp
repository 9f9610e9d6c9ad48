#include "base/cpu_info.h"

#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <sched.h>

namespace pagoda {
namespace {

// What the kernel lists as a property of the first processor; empty where it does not list it.
std::string listed(const char* property) {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.starts_with(property)) return line.substr(line.find(':') + 1);
  return {};
}

std::set<std::string> listed_flags() {
  std::istringstream words(listed("flags"));
  return {std::istream_iterator<std::string>(words), {}};
}

TEST(CpuInfo, KnowsZen5ByItsFamily) {
  const std::string family = listed("cpu family");
  if (family.empty()) GTEST_SKIP() << "no family in /proc/cpuinfo";
  EXPECT_EQ(detect_cpu().fetches_ahead_too_little, family == " 26" && listed("vendor_id") == " AuthenticAMD");
}

TEST(CpuInfo, ClaimsOnlyWhatTheKernelLists) {
  const std::set<std::string> flags = listed_flags();
  if (flags.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  const CpuInfo info = detect_cpu();
  const auto all = [&](std::initializer_list<const char*> names) {
    for (const char* name : names)
      if (!flags.contains(name)) return false;
    return true;
  };
  EXPECT_EQ(info.avx2, all({"avx2", "fma", "f16c"}));
  EXPECT_EQ(info.avx_vnni, info.avx2 && all({"avx_vnni"}));
  EXPECT_EQ(info.avx512, info.avx2 && all({"avx512f", "avx512bw", "avx512dq", "avx512vl"}));
  EXPECT_EQ(info.avx512_vnni, info.avx512 && all({"avx512_vnni"}));
  EXPECT_TRUE(!info.avx512_bf16 || all({"avx512_bf16"}));
  EXPECT_TRUE(!info.amx_int8 || all({"amx_tile", "amx_int8"}));
  EXPECT_TRUE(!info.amx_bf16 || all({"amx_tile", "amx_bf16"}));
}

TEST(CpuInfo, NamesTheModelOnOneLine) {
  const std::string name = detect_cpu().model_name;
  EXPECT_FALSE(name.empty());
  EXPECT_EQ(name.find('\n'), std::string::npos);
}

TEST(CpuInfo, CountsTheCoresOfTheAffinityMask) {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  ASSERT_EQ(sched_getaffinity(0, sizeof usable, &usable), 0);
  EXPECT_EQ(detect_cpu().num_cores, CPU_COUNT(&usable));
  size_t first = 0;
  while (!CPU_ISSET(first, &usable)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(detect_cpu().num_cores, 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof usable, &usable), 0);
}

}  // namespace
}  // namespace pagoda
