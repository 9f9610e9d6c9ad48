// Parameters of the API that say nothing about the answer's text: checked, so that mistakes are heard of, and
// otherwise without effect.
#pragma once

#include "server/openai/fields.h"

namespace pagoda {

// metadata, store, service_tier, user, safety_identifier, prompt_cache_key, prompt_cache_retention,
// spaces_between_special_tokens.
void check_accepted_fields(Fields& fields);

}  // namespace pagoda
