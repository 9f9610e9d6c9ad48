// The cores that this process may use, and threads that stay on one of them.
#pragma once

#include <vector>

#include <pthread.h>

namespace pagoda {

// In ascending order; empty where the system does not say.
std::vector<int> usable_cores();

// Only advice: where it is refused, the thread stays free.
void bind_thread(pthread_t thread, int core);

}  // namespace pagoda
