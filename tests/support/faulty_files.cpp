#include "support/faulty_files.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace pagoda::testing {

namespace {

constexpr size_t kSector = 512;  // written whole or not at all

std::unexpected<Error> refused(const std::string& path, const char* why) {
  return fail(ErrorCode::io, "{}: {}", path, why);
}

void put(std::vector<std::byte>& file, uint64_t offset, std::span<const std::byte> bytes) {
  if (file.size() < offset + bytes.size()) file.resize(offset + bytes.size());
  std::ranges::copy(bytes, file.begin() + static_cast<std::ptrdiff_t>(offset));
}

}  // namespace

class FaultyFile final : public File {
 public:
  FaultyFile(FaultyFiles& files, std::string path, std::shared_ptr<FaultyFiles::Node> node, bool can_write)
      : files_(files), path_(std::move(path)), node_(std::move(node)), can_write_(can_write) {}

  Result<size_t> read_at(uint64_t offset, std::span<std::byte> out) override {
    const std::lock_guard lock(files_.mutex_);
    if (files_.is_dead_ || files_.faults_.reads_fail) return refused(path_, "Input/output error");
    if (offset >= node_->current.size()) return 0;
    const size_t count = shortened(std::min<size_t>(out.size(), node_->current.size() - offset));
    std::copy_n(node_->current.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
    return count;
  }
  Result<size_t> write_at(uint64_t offset, std::span<const std::byte> bytes) override {
    const std::lock_guard lock(files_.mutex_);
    if (!can_write_) return refused(path_, "Bad file descriptor");
    PAGODA_TRY_STATUS(files_.change(path_));
    if (files_.faults_.writes_fail) return refused(path_, "Input/output error");
    if (files_.faults_.is_full) return refused(path_, "No space left on device");
    bytes = bytes.first(shortened(bytes.size()));
    node_->changes.push_back({offset, {bytes.begin(), bytes.end()}, false});
    put(node_->current, offset, bytes);
    if (files_.is_dead_) return refused(path_, "killed");
    return bytes.size();
  }
  Status sync() override {
    const std::lock_guard lock(files_.mutex_);
    PAGODA_TRY_STATUS(files_.change(path_));
    if (files_.faults_.syncs_fail) return refused(path_, "Input/output error");
    if (files_.is_dead_) return refused(path_, "killed");
    node_->durable = node_->current;
    node_->changes.clear();
    return {};
  }
  Status resize(uint64_t num_bytes) override {
    const std::lock_guard lock(files_.mutex_);
    if (!can_write_) return refused(path_, "Bad file descriptor");
    PAGODA_TRY_STATUS(files_.change(path_));
    if (files_.faults_.is_full && num_bytes > node_->current.size())
      return refused(path_, "No space left on device");
    node_->current.resize(num_bytes);
    node_->changes.push_back({num_bytes, {}, true});
    if (files_.is_dead_) return refused(path_, "killed");
    return {};
  }
  Result<uint64_t> size() const override {
    const std::lock_guard lock(files_.mutex_);
    if (files_.is_dead_) return refused(path_, "killed");
    return node_->current.size();
  }
  const std::string& path() const override { return path_; }

 private:
  // As direct transfers are: by whole blocks.
  size_t shortened(size_t count) {
    if (!files_.faults_.is_short || count <= kDirectAlignment) return count;
    const size_t blocks = count / kDirectAlignment;
    return (1 + files_.random_() % blocks) * kDirectAlignment;
  }

  FaultyFiles& files_;
  std::string path_;
  std::shared_ptr<FaultyFiles::Node> node_;
  bool can_write_;
};

class FaultyLock final : public FileLock {
 public:
  FaultyLock(FaultyFiles& files, std::string path)
      : files_(files), path_(std::move(path)), life_(files.life_) {}
  ~FaultyLock() override {
    const std::lock_guard lock(files_.mutex_);
    if (life_ == files_.life_) files_.locks_.erase(path_);
  }

 private:
  FaultyFiles& files_;
  std::string path_;
  uint64_t life_;
};

void FaultyFiles::set(const Faults& faults) {
  const std::lock_guard lock(mutex_);
  faults_ = faults;
}

void FaultyFiles::kill_after(int64_t num_changes) {
  const std::lock_guard lock(mutex_);
  kill_at_ = num_changes < 0 ? -1 : num_changes_ + num_changes;
}

bool FaultyFiles::is_dead() const {
  const std::lock_guard lock(mutex_);
  return is_dead_;
}

int64_t FaultyFiles::num_changes() const {
  const std::lock_guard lock(mutex_);
  return num_changes_;
}

Status FaultyFiles::change(const std::string& path) {
  if (is_dead_) return refused(path, "killed");
  if (faults_.is_read_only) return refused(path, "Read-only file system");
  is_dead_ = num_changes_++ == kill_at_;
  return {};
}

void FaultyFiles::lose(Node& node) {
  // All, nothing or some of what was not synced.
  const uint64_t kind = random_() % 4;
  const auto survives = [&] { return kind == 0 || (kind > 1 && random_() % 2 == 0); };
  std::vector<std::byte> bytes = std::move(node.durable);
  for (const Change& change : node.changes) {
    if (change.is_resize) {
      if (survives()) bytes.resize(change.offset);
      continue;
    }
    for (size_t at = 0; at < change.bytes.size(); at += kSector) {
      const auto sector = std::span(change.bytes).subspan(at, std::min(kSector, change.bytes.size() - at));
      if (survives()) put(bytes, change.offset + at, sector);
    }
  }
  node.changes.clear();
  node.current = bytes;
  node.durable = std::move(bytes);
}

void FaultyFiles::restart() {
  const std::lock_guard lock(mutex_);
  for (auto& [path, node] : removed_)
    if (!nodes_.contains(path) && random_() % 2 == 0) nodes_[path] = node;
  removed_.clear();
  std::erase_if(nodes_,
                [&](const auto& entry) { return !entry.second->is_name_durable && random_() % 2 == 0; });
  for (auto& [path, node] : nodes_) {
    lose(*node);
    node->is_name_durable = true;
  }
  locks_.clear();
  faults_ = {};
  kill_at_ = -1;
  is_dead_ = false;
  ++life_;
}

std::vector<std::byte>& FaultyFiles::bytes(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const auto node = nodes_.find(path);
  if (node == nodes_.end()) throw std::runtime_error("no such file: " + path);
  return node->second->current;
}

Result<std::unique_ptr<File>> FaultyFiles::open(const std::string& path, OpenMode mode) {
  const std::lock_guard lock(mutex_);
  if (is_dead_) return refused(path, "killed");
  auto node = nodes_.find(path);
  if (mode == OpenMode::create) {
    if (node != nodes_.end()) return refused(path, "File exists");
    PAGODA_TRY_STATUS(change(path));
    node = nodes_.emplace(path, std::make_shared<Node>()).first;
    if (is_dead_) return refused(path, "killed");
  }
  if (node == nodes_.end()) return fail(ErrorCode::not_found, "{}: No such file or directory", path);
  if (mode == OpenMode::write && faults_.is_read_only) return refused(path, "Read-only file system");
  return std::make_unique<FaultyFile>(*this, path, node->second, mode != OpenMode::read);
}

Status FaultyFiles::create_folder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (is_dead_) return refused(path, "killed");
  return {};
}

Result<std::vector<std::string>> FaultyFiles::list(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  if (is_dead_) return refused(folder, "killed");
  std::vector<std::string> names;
  for (const auto& [path, node] : nodes_)
    if (path.starts_with(folder + "/")) names.push_back(path.substr(folder.size() + 1));
  return names;
}

Status FaultyFiles::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  PAGODA_TRY_STATUS(change(path));
  const auto node = nodes_.find(path);
  if (node == nodes_.end()) return fail(ErrorCode::not_found, "{}: No such file or directory", path);
  if (node->second->is_name_durable) removed_[path] = node->second;
  nodes_.erase(node);
  if (is_dead_) return refused(path, "killed");
  return {};
}

Status FaultyFiles::sync_folder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  PAGODA_TRY_STATUS(change(path));
  if (is_dead_) return refused(path, "killed");
  for (auto& [name, node] : nodes_) node->is_name_durable = true;
  removed_.clear();
  return {};
}

Result<std::unique_ptr<FileLock>> FaultyFiles::lock(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (is_dead_) return refused(path, "killed");
  if (!locks_.insert(path).second) return nullptr;
  return std::make_unique<FaultyLock>(*this, path);
}

}  // namespace pagoda::testing
