// Waiting longer after each failure, with jitter, so that loaders do not come back all at once.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice {

class Backoff {
  public:
    Backoff(int64_t first_us, int64_t longest_us, uint64_t seed) noexcept
        : first_us_(first_us), longest_us_(longest_us), wait_us_(first_us), state_(seed | 1) {}

    // The next wait: between half and the whole of a time that doubles.
    [[nodiscard]] int64_t next_us() noexcept {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        const int64_t half = wait_us_ / 2;
        const int64_t jitter = static_cast<int64_t>(state_ % static_cast<uint64_t>(half + 1));
        wait_us_ = std::min(wait_us_ * 2, longest_us_);
        return half + jitter;
    }
    void reset() noexcept { wait_us_ = first_us_; }

  private:
    int64_t first_us_;
    int64_t longest_us_;
    int64_t wait_us_;
    uint64_t state_;
};

}  // namespace sluice
