// Gives the items of a plan their pages, and takes pages from the last ranked where there are too few.
#pragma once

#include <vector>

#include "engine/batch_plan.h"
#include "engine/roster.h"
#include "kv/kv_cache.h"

namespace pagoda {

// Reserves pages item by item. While they do not suffice, the last ranked running sequence is preempted, if
// need be the item's own, and leaves the plan. A sequence that has the whole pool to itself and still does
// not fit is appended to `exhausted` and leaves the plan: it can never go on, unless tables that close still
// give pages back. Hence the first ranked sequence that is not being restored advances in every step.
void place_batch(BatchPlan& plan, Roster& roster, KvCache& kv, std::vector<Sequence*>& exhausted);

}  // namespace pagoda
