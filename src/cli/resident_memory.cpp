#include "cli/resident_memory.h"

#include <fstream>
#include <string>

namespace pagoda {

ResidentMemory resident_memory() {
  ResidentMemory memory;
  std::ifstream file("/proc/self/status");
  for (std::string key; file >> key; file.ignore(4096, '\n')) {
    uint64_t* target = key == "VmRSS:"     ? &memory.total
                       : key == "RssAnon:" ? &memory.anonymous
                       : key == "VmHWM:"   ? &memory.peak
                                           : nullptr;
    uint64_t kibibytes = 0;
    if (target != nullptr && file >> kibibytes) *target = kibibytes * 1024;
  }
  return memory;
}

}  // namespace pagoda
