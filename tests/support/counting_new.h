// Counts the calls of operator new. Link counting_new.cpp into a test binary of its own: it replaces the
// operators for all of it.
#pragma once

#include <cstdint>

namespace pagoda::testing {

// Since the start of the process, on all threads.
int64_t num_allocations();

}  // namespace pagoda::testing
