// Keys of pages for the world outside a process: each is a hash over its parent's key and its own tokens.
// Inside, the tokens themselves are compared; a stored page is checked against them, too.
#pragma once

#include "io/hash.h"
#include "kv/prefix_key.h"

namespace pagoda {

// The root of a namespace's pages. `fingerprint`: of all that changes K and V (model, types, layout,
// kernels).
Digest root_key(const Digest& fingerprint, const PrefixNamespace& prefix);
Digest page_key(const Digest& parent, const PageTokens& tokens);

}  // namespace pagoda
