// How long requests took. Kept in buckets of less than a hundredth of their value, so that a run of
// any length needs as much memory.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::stress {

class Latency {
  public:
    Latency();

    void seen(uint64_t us);
    [[nodiscard]] uint64_t count() const noexcept { return count_; }
    [[nodiscard]] double min_ms() const noexcept;
    [[nodiscard]] double average_ms() const noexcept;
    [[nodiscard]] double max_ms() const noexcept;
    [[nodiscard]] double percentile_ms(double percent) const;

  private:
    std::vector<uint64_t> buckets_;
    uint64_t count_ = 0;
    uint64_t sum_us_ = 0;
    uint64_t min_us_ = UINT64_MAX;
    uint64_t max_us_ = 0;
};

}  // namespace sluice::stress
