#include "engine/placer.h"

#include <algorithm>

namespace pagoda {

namespace {

// Whether the item may stay in the plan.
bool place_item(const PlanItem& item, Roster& roster, KvCache& kv, std::vector<Sequence*>& exhausted) {
  Sequence& sequence = *item.sequence;
  while (sequence.state == SequenceState::running) {
    if (kv.reserve(sequence.kv, item.end_position())) return true;
    Sequence& victim = *roster.running().back();
    if (&victim == &sequence && roster.running().size() == 1 && kv.num_closing() > 0) return false;
    if (&victim == &sequence && roster.running().size() == 1) {
      exhausted.push_back(&sequence);
      return false;
    }
    roster.preempt(victim);
  }
  return false;
}

}  // namespace

void place_batch(BatchPlan& plan, Roster& roster, KvCache& kv, std::vector<Sequence*>& exhausted) {
  // Victims may sit anywhere in the plan, so items are only dropped when all others have been placed.
  for (PlanItem& item : plan.items)
    if (!place_item(item, roster, kv, exhausted)) item.num_tokens = 0;
  std::erase_if(plan.items, [](const PlanItem& item) {
    return item.num_tokens == 0 || item.sequence->state != SequenceState::running;
  });
}

}  // namespace pagoda
