// A FileSystem in memory that loses power and fails on request.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "io/file_system.h"

namespace pagoda::testing {

// Files and folders are durable as POSIX promises it: bytes and sizes once the file was synced, names once
// the folder was. restart() decides at random, sector by sector, which of the rest survived.
class FaultyFiles final : public FileSystem {
 public:
  explicit FaultyFiles(uint64_t seed) : random_(seed) {}

  // How the files behave from now on.
  struct Faults {
    bool reads_fail = false;
    bool writes_fail = false;
    bool syncs_fail = false;
    bool is_full = false;       // nothing can grow, and writes fail
    bool is_read_only = false;  // mounted so
    bool is_short = false;      // reads and writes stop early, where they may
  };
  void set(const Faults& faults);
  // The n-th change from now on (write, resize, sync, creation, removal) is the last and may happen in part;
  // everything fails after it. 0: the next one. Negative: never.
  void kill_after(int64_t num_changes);
  bool is_dead() const;
  int64_t num_changes() const;
  // The power is back: what was not durable may be lost, locks are gone, and so are the faults.
  void restart();

  // For damage: the file's bytes as they are read.
  std::vector<std::byte>& bytes(const std::string& path);

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Status create_folder(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& folder) override;
  Status remove(const std::string& path) override;
  Status sync_folder(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path) override;

 private:
  friend class FaultyFile;
  friend class FaultyLock;

  // Not yet durable: bytes written at an offset, or a new size.
  struct Change {
    uint64_t offset = 0;
    std::vector<std::byte> bytes;
    bool is_resize = false;
  };
  struct Node {
    std::vector<std::byte> current;
    std::vector<std::byte> durable;
    std::vector<Change> changes;
    bool is_name_durable = false;
  };

  Status change(const std::string& path);  // counts one, and fails if it may not be made
  void lose(Node& node);

  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  Faults faults_;
  int64_t num_changes_ = 0;
  int64_t kill_at_ = -1;
  bool is_dead_ = false;
  std::map<std::string, std::shared_ptr<Node>> nodes_;
  std::map<std::string, std::shared_ptr<Node>> removed_;  // since their folder was synced
  std::set<std::string> locks_;
  uint64_t life_ = 0;  // restarts; locks of an earlier one are void
};

}  // namespace pagoda::testing
