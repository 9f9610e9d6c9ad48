// How fast KV pages go to a disk and come back, beside what the disk does without any of our work.
#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <numeric>

#include <boost/json.hpp>

#include "base/aligned_buffer.h"
#include "base/clock.h"
#include "cli/arguments.h"
#include "cli/bench_machine.h"
#include "cli/byte_size.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "io/io_queue.h"
#include "kv/disk/disk_page_store.h"
#include "kv/disk/record.h"
#include "kv/page_chain.h"

namespace pagoda {

namespace {

namespace json = boost::json;

constexpr Digest kFingerprint = {1, 1};

// A new folder in the one given, removed with all that is in it.
class ScratchFolder {
 public:
  static Result<ScratchFolder> create(const std::string& parent) {
    std::string path = parent + "/pagoda-bench-XXXXXX";
    if (mkdtemp(path.data()) == nullptr)
      return fail(ErrorCode::io, "{}: no folder can be made in it", parent);
    return ScratchFolder(std::move(path));
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Arbitrary bytes that no disk can make smaller.
class BenchPages final : public PageMemory {
 public:
  BenchPages(AlignedBuffer buffer, size_t page_bytes) : buffer_(std::move(buffer)), page_bytes_(page_bytes) {
    uint64_t state = 1;
    for (size_t i = 0; i + 8 <= buffer_.size(); i += 8) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      std::memcpy(buffer_.data() + i, &state, sizeof state);
    }
  }
  size_t page_bytes() const override { return page_bytes_; }
  void copy_out(PageId page, std::span<std::byte> to) const override {
    std::memcpy(to.data(), buffer_.data() + static_cast<size_t>(page) * page_bytes_, page_bytes_);
  }
  void copy_in(PageId page, std::span<const std::byte> from) override {
    std::memcpy(buffer_.data() + static_cast<size_t>(page) * page_bytes_, from.data(), page_bytes_);
  }

 private:
  AlignedBuffer buffer_;
  size_t page_bytes_;
};

std::vector<PageIdentity> make_identities(size_t count) {
  std::vector<PageIdentity> identities(count);
  Digest parent = root_key(kFingerprint, {});
  for (size_t i = 0; i < count; ++i) {
    identities[i].parent = parent;
    identities[i].tokens.fill(text_key(static_cast<int32_t>(i)));
    parent = identities[i].key = page_key(parent, identities[i].tokens);
  }
  return identities;
}

// Of the pages, those that are moved one by one.
constexpr size_t kNumAlone = 32;

// Seconds of each way through the same number of bytes.
struct Seconds {
  double write = 0;
  double read = 0;
  double open = 0;
};

class KvDiskBench {
 public:
  KvDiskBench(const BenchKvDiskArguments& arguments, std::string folder)
      : arguments_(arguments),
        folder_(std::move(folder)),
        slot_bytes_(slot_bytes_of(arguments.page_bytes)),
        identities_(make_identities(std::max<uint64_t>(arguments.bytes / slot_bytes_, 1))) {}

  size_t num_pages() const { return identities_.size(); }
  uint64_t num_bytes() const { return num_pages() * slot_bytes_; }

  // One file, blocks as large as a slot, as many under way.
  Result<Seconds> plain(DiskIo io) const {
    PAGODA_TRY(const std::unique_ptr<IoQueue> queue, make_queue(io));
    const std::string path = folder_ + "/plain";
    PAGODA_TRY(const std::unique_ptr<File> file, system_files().open(path, OpenMode::create));
    PAGODA_TRY_STATUS(file->resize(num_bytes()));
    Seconds seconds;
    PAGODA_TRY(seconds.write, time_plain(*queue, *file, IoRequest::Kind::write));
    PAGODA_TRY(seconds.read, time_plain(*queue, *file, IoRequest::Kind::read));
    PAGODA_TRY_STATUS(system_files().remove(path));
    return seconds;
  }

  // As many pages at once as may be under way.
  Result<Seconds> store(DiskIo io) const {
    return time_store(io, num_pages(), static_cast<size_t>(arguments_.queue_depth));
  }
  // One page after the other; seconds of a page.
  Result<Seconds> store_alone(DiskIo io) const {
    const size_t count = std::min(kNumAlone, num_pages());
    PAGODA_TRY(const Seconds all, time_store(io, count, 1));
    const auto divisor = static_cast<double>(count);
    return Seconds{.write = all.write / divisor, .read = all.read / divisor};
  }

 private:
  Result<Seconds> time_store(DiskIo io, size_t count, size_t num_at_once) const {
    DiskStoreOptions options;
    options.folder = folder_ + "/store";
    options.bytes = num_bytes() + num_bytes() / 16 + (uint64_t{1} << 20);
    options.fingerprint = kFingerprint;
    options.roots = {root_key(kFingerprint, {})};
    options.queue_depth = arguments_.queue_depth;
    options.io = io;
    PAGODA_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(num_at_once * arguments_.page_bytes));
    BenchPages pages(std::move(buffer), arguments_.page_bytes);
    Seconds seconds;
    std::vector<SlotId> slots(count);
    {
      PAGODA_TRY(const auto store, DiskPageStore::open(options, system_files(), pages));
      PAGODA_TRY(seconds.write, time_pages(*store, count, num_at_once, [&](size_t index, PageId page) {
                   slots[index] = store->write(identities_[index], page, static_cast<uint64_t>(index));
                   return slots[index] != kNoSlot;
                 }));
    }
    const int64_t start_ns = clock_.now_ns();
    PAGODA_TRY(const auto store, DiskPageStore::open(options, system_files(), pages));
    seconds.open = since(start_ns);
    PAGODA_TRY(seconds.read, time_pages(*store, count, num_at_once, [&](size_t index, PageId page) {
                 return store->read(slots[index], identities_[index], page, static_cast<uint64_t>(index));
               }));
    std::error_code ignored;
    std::filesystem::remove_all(options.folder, ignored);
    return seconds;
  }

  double since(int64_t start_ns) const { return static_cast<double>(clock_.now_ns() - start_ns) * 1e-9; }

  Result<std::unique_ptr<IoQueue>> make_queue(DiskIo io) const {
    if (io == DiskIo::uring) return make_uring_io_queue(static_cast<unsigned>(arguments_.queue_depth));
    return make_thread_io_queue(std::min(arguments_.queue_depth, 8));
  }

  Result<double> time_plain(IoQueue& queue, File& file, IoRequest::Kind kind) const {
    const auto depth = static_cast<size_t>(arguments_.queue_depth);
    PAGODA_TRY(AlignedBuffer buffer, AlignedBuffer::allocate(depth * slot_bytes_));
    std::ranges::fill(buffer.bytes(), std::byte{0x5A});
    std::vector<size_t> free(depth);
    for (size_t i = 0; i < depth; ++i) free[i] = i;
    std::array<IoResult, 64> results;
    const int64_t start_ns = clock_.now_ns();
    for (size_t next = 0; next < num_pages() || free.size() < depth;) {
      for (; next < num_pages() && !free.empty(); ++next) {
        const size_t index = free.back();
        free.pop_back();
        queue.submit({kind, &file, next * slot_bytes_,
                      buffer.bytes().subspan(index * slot_bytes_, slot_bytes_), index});
      }
      const size_t count = queue.wait(results);
      for (const auto& [tag, status] : std::span(results).first(count)) {
        PAGODA_TRY_STATUS(status);
        free.push_back(tag);
      }
    }
    if (kind == IoRequest::Kind::write) PAGODA_TRY_STATUS(file.sync());
    return since(start_ns);
  }

  // begin(index, page) starts a page's transfer, or says that there is no room for it yet.
  template <class Begin>
  Result<double> time_pages(DiskPageStore& store, size_t count, size_t num_at_once, Begin&& begin) const {
    constexpr int64_t kPatienceNs = 1'000'000'000;
    std::vector<PageId> free(num_at_once);
    std::iota(free.begin(), free.end(), 0);
    std::vector<PageId> page_of(count);
    std::array<PageTransfer, 64> done;
    const int64_t start_ns = clock_.now_ns();
    for (size_t next = 0, ended = 0; ended < count;) {
      while (next < count && !free.empty() && begin(next, free.back())) {
        page_of[next++] = free.back();
        free.pop_back();
      }
      store.wait(kPatienceNs);
      const size_t num_done = store.poll(done);
      for (const PageTransfer& transfer : std::span(done).first(num_done)) {
        if (!transfer.ok) return fail(ErrorCode::io, "{}: a page could not be transferred", folder_);
        free.push_back(page_of[transfer.tag]);
      }
      ended += num_done;
    }
    return since(start_ns);
  }

  const BenchKvDiskArguments& arguments_;
  std::string folder_;
  uint64_t slot_bytes_;
  std::vector<PageIdentity> identities_;
  SteadyClock clock_;
};

// The same way several times.
struct Runs {
  std::string name;
  std::vector<Seconds> plain;
  std::vector<Seconds> store;
  std::vector<Seconds> alone;  // of a page
};

Spread rates(const KvDiskBench& bench, const std::vector<Seconds>& runs, double Seconds::* member) {
  std::vector<double> values;
  values.reserve(runs.size());
  for (const Seconds& seconds : runs)
    values.push_back(static_cast<double>(bench.num_bytes()) / (seconds.*member));
  return spread_of(std::move(values));
}

void print(const KvDiskBench& bench, const BenchKvDiskArguments& arguments, const Runs& runs) {
  for (const auto& [what, member] :
       {std::pair("write", &Seconds::write), std::pair("read", &Seconds::read)}) {
    const Spread store = rates(bench, runs.store, member);
    const Spread limit = rates(bench, runs.plain, member);
    const double pages_per_second =
        store.median * static_cast<double>(bench.num_pages()) / static_cast<double>(bench.num_bytes());
    std::vector<double> of_a_page;
    of_a_page.reserve(runs.alone.size());
    for (const Seconds& seconds : runs.alone) of_a_page.push_back(seconds.*member);
    const double alone = spread_of(std::move(of_a_page)).median;
    if (arguments.json) {
      print_line(to_json(json::object{{"benchmark", "kv-disk"},
                                      {"io", runs.name},
                                      {"direction", what},
                                      {"page_bytes", arguments.page_bytes},
                                      {"pages", bench.num_pages()},
                                      {"queue_depth", arguments.queue_depth},
                                      {"bytes_per_second", to_object(store)},
                                      {"pages_per_second", pages_per_second},
                                      {"alone_seconds", alone},
                                      {"plain_bytes_per_second", to_object(limit)},
                                      {"open_seconds", runs.store.front().open}}));
    } else {
      print_line(fmt::format("{:<9}{:<7}{:>10.0f}{:>11.0f}{:>16}{:>10.0f}{:>9.0f} %{:>11.3f}{:>10.3f}",
                             runs.name, what, store.median * 1e-6, pages_per_second,
                             fmt::format("{:.0f} … {:.0f}", store.min * 1e-6, store.max * 1e-6),
                             limit.median * 1e-6, 100 * store.median / limit.median, alone * 1e3,
                             runs.store.front().open));
    }
  }
}

}  // namespace

Status execute(const BenchKvDiskArguments& arguments) {
  init_logging(LogLevel::warning);
  PAGODA_TRY(const ScratchFolder folder, ScratchFolder::create(arguments.folder));
  const KvDiskBench bench(arguments, folder.path());
  std::vector<std::pair<DiskIo, std::string>> ways = {{DiskIo::threads, "threads"}};
  if (make_uring_io_queue(2)) ways.insert(ways.begin(), {DiskIo::uring, "io_uring"});
  if (!arguments.json) {
    print_line(fmt::format("{} pages of {}, {} under way, {} runs", bench.num_pages(),
                           format_byte_size(arguments.page_bytes), arguments.queue_depth, arguments.repeat));
    print_line(bold(fmt::format("{:<9}{:<7}{:>10}{:>11}{:>16}{:>10}{:>11}{:>11}{:>10}", "io", "", "MB/s",
                                "pages/s", "MB/s", "plain", "of plain", "alone, ms", "open, s"),
                    Stream::out));
  }
  for (const auto& [io, name] : ways) {
    Runs runs;
    runs.name = name;
    for (int run = 0; run < arguments.repeat; ++run) {
      PAGODA_TRY(runs.plain.emplace_back(), bench.plain(io));
      PAGODA_TRY(runs.store.emplace_back(), bench.store(io));
      PAGODA_TRY(runs.alone.emplace_back(), bench.store_alone(io));
    }
    print(bench, arguments, runs);
  }
  return {};
}

}  // namespace pagoda
