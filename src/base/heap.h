// The C library's heap, as a process wants it that loads a model and may then serve for months.
#pragma once

namespace pagoda {

// Large blocks, such as a vocabulary's tables while it is built and the bodies of requests, become mappings
// of their own that go back to the system when they are freed. Without this glibc raises its limit for such
// blocks with each one that is freed (up to 32 MiB, mallopt(3)), later ones come from the heaps of the
// threads, and some of every heap stays resident. For the whole process; to be called before other threads
// allocate.
void return_large_blocks();

}  // namespace pagoda
