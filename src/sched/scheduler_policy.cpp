#include "sched/scheduler_policy.h"

#include <fmt/ranges.h>

#include "sched/fcfs_policy.h"
#include "sched/lpm_policy.h"
#include "sched/mlfq_policy.h"
#include "sched/priority_policy.h"
#include "sched/srpt_policy.h"

namespace pagoda {

namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<SchedulerPolicy> (*make)();
};

template <class Policy>
std::unique_ptr<SchedulerPolicy> make() {
  return std::make_unique<Policy>();
}

constexpr Entry kPolicies[] = {
    {FcfsPolicy::kName, make<FcfsPolicy>}, {PriorityPolicy::kName, make<PriorityPolicy>},
    {LpmPolicy::kName, make<LpmPolicy>},   {MlfqPolicy::kName, make<MlfqPolicy>},
    {SrptPolicy::kName, make<SrptPolicy>},
};

}  // namespace

Result<std::unique_ptr<SchedulerPolicy>> make_scheduler_policy(std::string_view name) {
  for (const Entry& entry : kPolicies)
    if (entry.name == name) return entry.make();
  return fail(ErrorCode::invalid_argument, "unknown scheduler policy '{}'; known: {}", name,
              fmt::join(scheduler_policy_names(), ", "));
}

std::vector<std::string_view> scheduler_policy_names() {
  std::vector<std::string_view> names;
  for (const Entry& entry : kPolicies) names.push_back(entry.name);
  return names;
}

}  // namespace pagoda
