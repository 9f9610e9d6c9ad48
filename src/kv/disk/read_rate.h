// How long a page takes to come back, as its user sees it.
#pragma once

#include <cstdint>

namespace pagoda {

// Time with reads under way by the pages that came in it, of recent ones. Times of any clock.
class ReadRate {
 public:
  void begin(int64_t now_ns) {
    if (num_under_way_++ == 0) since_ns_ = now_ns;
  }
  void end(int64_t now_ns) {
    busy_seconds_ += static_cast<double>(now_ns - since_ns_) * 1e-9;
    since_ns_ = now_ns;
    --num_under_way_;
    if (++num_pages_ < kMostPages) return;
    num_pages_ /= 2;
    busy_seconds_ /= 2;
  }
  // 0: none has been read.
  double seconds_per_page() const { return num_pages_ > 0 ? busy_seconds_ / num_pages_ : 0; }

 private:
  static constexpr double kMostPages = 1024;
  int64_t num_under_way_ = 0;
  int64_t since_ns_ = 0;
  double num_pages_ = 0;
  double busy_seconds_ = 0;
};

}  // namespace pagoda
