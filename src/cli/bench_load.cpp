// How long it takes from the start to a model that answers, and what memory it then holds. Each load is made
// in a process of its own.
#include <algorithm>
#include <optional>

#include <boost/json.hpp>

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/byte_size.h"
#include "cli/child_process.h"
#include "cli/completion.h"
#include "cli/file_cache.h"
#include "cli/json.h"
#include "cli/resident_memory.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "weights/packed_cache.h"

namespace pagoda {

namespace {

// What one process saw.
struct Load {
  double load_seconds = 0;         // from its start to an engine that takes requests
  double first_token_seconds = 0;  // from its start to the first new token
  double fill_seconds = 0;         // spent on the context
  ResidentMemory loaded;
  ResidentMemory end;
  uint64_t weight_bytes = 0;
  uint64_t kv_bytes = 0;  // of the sequence at the end
};

// A new token after a prompt of so many tokens.
Status generate_one(const Session& session, int64_t prompt_tokens) {
  Request request;
  request.prompt = arbitrary_tokens(prompt_tokens, session.engine->model_info().vocab_size);
  request.sampling.temperature = 0;
  request.max_tokens = 1;
  request.ignore_eos = true;
  const std::atomic<bool> never{false};
  PAGODA_TRY(const Completion completion,
             complete(*session.engine, std::move(request), [](std::string_view) {}, never));
  return {};
}

Result<Load> load_once(const BenchLoadArguments& arguments) {
  const SteadyClock clock;
  const int64_t start_ns = clock.now_ns();
  const auto seconds = [&] { return static_cast<double>(clock.now_ns() - start_ns) * 1e-9; };
  Load load;
  PAGODA_TRY(const Session session, open_session(arguments.model));
  load.load_seconds = seconds();
  load.loaded = resident_memory();
  PAGODA_TRY_STATUS(generate_one(session, arguments.prompt_tokens));
  load.first_token_seconds = seconds();
  // A sequence of one token less: the new one is the last.
  if (arguments.context > 1) PAGODA_TRY_STATUS(generate_one(session, arguments.context - 1));
  load.fill_seconds = seconds() - load.first_token_seconds;
  load.end = resident_memory();
  load.weight_bytes = session.engine->config().weight_bytes;
  const int64_t tokens = std::max(arguments.prompt_tokens + 1, arguments.context);
  load.kv_bytes = static_cast<uint64_t>((tokens + kPageTokens - 1) / kPageTokens) *
                  session.engine->model_info().kv_shape.page_bytes();
  return load;
}

// The same kind of load several times.
struct Loads {
  FileCache cache = FileCache::warm;
  uint64_t file_bytes = 0;
  std::vector<Load> loads;
  std::vector<double> read_rates;  // bytes per second that reading alone reached, just before each load

  Spread spread(double Load::* member) const {
    std::vector<double> values;
    values.reserve(loads.size());
    for (const Load& load : loads) values.push_back(load.*member);
    return spread_of(std::move(values));
  }
  uint64_t most(uint64_t ResidentMemory::* member, ResidentMemory Load::* when) const {
    uint64_t bytes = 0;
    for (const Load& load : loads) bytes = std::max(bytes, load.*when.*member);
    return bytes;
  }
  double bytes_per_second() const {
    return static_cast<double>(file_bytes) / spread(&Load::load_seconds).median;
  }
  double limit() const { return spread_of(read_rates).median; }
};

const char* to_string(FileCache cache) {
  return cache == FileCache::warm ? "warm" : "cold";
}

class LoadBench {
 public:
  static Result<LoadBench> create(const BenchLoadArguments& arguments) {
    LoadBench bench(arguments);
    const MachineInfo info = inspect_machine();
    PAGODA_TRY(const Isa isa, choose_isa(info.cpu, forced_isa()));
    PAGODA_TRY(const Resources resources, resolve_resources(engine_options(arguments.model), info));
    {
      // No thread may be left when a process is made.
      ThreadPool pool(resources.num_threads);
      PAGODA_TRY(bench.machine_, measure_machine(info, isa, pool));
    }
    PAGODA_TRY(const auto file, open_model(arguments.model.model));
    bench.path_ = file->path();
    bench.files_ = file->files();
    // The first load writes what is missing of a packed cache; then that is what a start reads.
    BenchLoadArguments first = arguments;
    first.context = 0;
    PAGODA_TRY_STATUS(compute_in_child<Load>([&] { return load_once(first); }));
    if (arguments.model.packed_cache)
      bench.files_ = {packed_cache_path(*file, *arguments.model.packed_cache)};
    return bench;
  }

  Result<Loads> measure(FileCache cache) const {
    Loads loads;
    loads.cache = cache;
    PAGODA_TRY(loads.file_bytes, total_file_bytes(files_));
    for (int run = 0; run < arguments_.repeat; ++run) {
      if (cache == FileCache::cold) PAGODA_TRY_STATUS(drop_from_page_cache(files_));
      PAGODA_TRY(loads.read_rates.emplace_back(), read_rate(files_, machine_.num_threads));
      if (cache == FileCache::cold) PAGODA_TRY_STATUS(drop_from_page_cache(files_));
      PAGODA_TRY(loads.loads.emplace_back(),
                 compute_in_child<Load>([this] { return load_once(arguments_); }));
    }
    return loads;
  }

  void print_heading() const {
    print_line(describe(machine_));
    print_line(bold(fmt::format("{:<6}{:>11}{:>9}{:>9}{:>11}{:>10}{:>14}{:>12}{:>12}{:>12}{:>12}", "load",
                                "file", "load, s", "GB/s", "reads at", "of limit", "to token 1, s",
                                "RSS loaded", "RSS at end", "RSS peak", "weights"),
                    Stream::out));
  }
  void print(const Loads& loads) const {
    const auto memory = [&](uint64_t ResidentMemory::* member, ResidentMemory Load::* when) {
      return format_byte_size(loads.most(member, when));
    };
    print_line(fmt::format(
        "{:<6}{:>11}{:>9.3f}{:>9.2f}{:>11.2f}{:>8.0f} %{:>14.3f}{:>12}{:>12}{:>12}{:>12}",
        to_string(loads.cache), format_byte_size(loads.file_bytes), loads.spread(&Load::load_seconds).median,
        loads.bytes_per_second() * 1e-9, loads.limit() * 1e-9, 100 * loads.bytes_per_second() / loads.limit(),
        loads.spread(&Load::first_token_seconds).median, memory(&ResidentMemory::total, &Load::loaded),
        memory(&ResidentMemory::total, &Load::end), memory(&ResidentMemory::peak, &Load::end),
        format_byte_size(loads.loads.front().weight_bytes)));
    if (arguments_.context > 0)
      print_line(dim(fmt::format("      {} tokens of context, {} of keys and values, filled in {:.1f} s",
                                 arguments_.context, format_byte_size(loads.loads.front().kv_bytes),
                                 loads.spread(&Load::fill_seconds).median),
                     Stream::out));
  }
  boost::json::object to_object(const Loads& loads) const {
    boost::json::object object;
    object["bench"] = "load";
    object["cache"] = to_string(loads.cache);
    object["model"] = path_;
    object["repeat"] = arguments_.repeat;
    object["packed_cache"] = arguments_.model.packed_cache.has_value();
    object["file_bytes"] = loads.file_bytes;
    object["load_seconds"] = pagoda::to_object(loads.spread(&Load::load_seconds));
    object["prompt_tokens"] = arguments_.prompt_tokens;
    object["first_token_seconds"] = pagoda::to_object(loads.spread(&Load::first_token_seconds));
    object["gigabytes_per_second"] = loads.bytes_per_second() * 1e-9;
    object["read_limit_gigabytes_per_second"] = loads.limit() * 1e-9;
    object["limit_share"] = loads.bytes_per_second() / loads.limit();
    object["context"] = std::max(arguments_.context, arguments_.prompt_tokens + 1);
    object["fill_seconds"] = loads.spread(&Load::fill_seconds).median;
    object["weight_bytes"] = loads.loads.front().weight_bytes;
    object["kv_bytes"] = loads.loads.front().kv_bytes;
    object["resident_bytes_loaded"] = loads.most(&ResidentMemory::total, &Load::loaded);
    object["resident_bytes"] = loads.most(&ResidentMemory::total, &Load::end);
    object["anonymous_resident_bytes"] = loads.most(&ResidentMemory::anonymous, &Load::end);
    object["peak_resident_bytes"] = loads.most(&ResidentMemory::peak, &Load::end);
    add_machine(machine_, object);
    return object;
  }

 private:
  explicit LoadBench(const BenchLoadArguments& arguments) : arguments_(arguments) {}

  const BenchLoadArguments& arguments_;
  BenchMachine machine_;
  std::string path_;
  std::vector<std::string> files_;
};

}  // namespace

Status execute(const BenchLoadArguments& arguments) {
  PAGODA_TRY(const LoadBench bench, LoadBench::create(arguments));
  if (!arguments.json) bench.print_heading();
  for (const FileCache cache : arguments.caches) {
    const Result<Loads> loads = bench.measure(cache);
    // A cold load is an extra where nobody asked for it alone.
    if (!loads && loads.error().code == ErrorCode::unsupported && arguments.caches.size() > 1) {
      PAGODA_WARN("no cold load: {}", loads.error().message);
      continue;
    }
    if (!loads) return std::unexpected(loads.error());
    if (arguments.json)
      print_line(to_json(bench.to_object(*loads)));
    else
      bench.print(*loads);
    print_now("");
  }
  return {};
}

}  // namespace pagoda
