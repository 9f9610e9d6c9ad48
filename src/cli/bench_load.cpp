#include <boost/json.hpp>
#include "cli/bench.h"
namespace pagoda {
Status execute(const BenchLoadArguments&) {
  return {};
}
}  // namespace pagoda
