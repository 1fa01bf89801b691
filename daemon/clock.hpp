// The two clocks of the daemon, in microseconds.
#pragma once

#include <time.h>

#include <cstdint>

namespace sluice {

inline int64_t clock_us(clockid_t clock) noexcept {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<int64_t>(now.tv_sec) * 1000000 + now.tv_nsec / 1000;
}

// Never jumps: for waits and deadlines.
inline int64_t steady_us() noexcept {
    return clock_us(CLOCK_MONOTONIC);
}

// Since 1970: for what is shown and stored.
inline int64_t wall_us() noexcept {
    return clock_us(CLOCK_REALTIME);
}

}  // namespace sluice
