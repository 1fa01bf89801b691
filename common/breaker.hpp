// The breaker that the workers share: closed, everything passes; open, nothing does, and Redis is
// left alone; half open, one worker asks Redis whether it takes writes again, and its answer closes
// the breaker or opens it anew. Having closed, it lets more pass step by step.
//
// It lives in shared memory: single words, each changed by one compare-and-swap, so that a worker
// killed at any moment leaves nothing half done; what it held is a lease, which ends. All zero is
// closed. Times are milliseconds of one clock that all workers read, which never goes back.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sluice {

struct BreakerSettings {
    uint32_t failures_percent = 50;  // of the calls of the last seconds
    uint32_t calls_min = 10;         // fewer say nothing
    uint32_t slow_ms = 2000;         // a reply that takes longer is a failure, and so is none
    uint32_t open_ms = 1000;         // before it asks, more or less: not all edges at once
};

// Why it opened.
enum class BreakerReason : uint8_t {
    kFailures,    // too many of the last calls
    kStall,       // nothing was stored for slow_ms although somebody waits for that
    kConnection,  // nobody reached Redis for a while
    kOom,
    kReadonly,
    kMisconf,
    kRefused,  // for another state in which Redis stores nothing
};
inline constexpr size_t kBreakerReasons = 7;

enum class BreakerState : uint8_t { kClosed, kHalfOpen, kOpen };

class Breaker {
  public:
    static constexpr uint64_t kBucketMs = 200;
    static constexpr size_t kBuckets = 10;
    static constexpr uint64_t kWindowMs = kBucketMs * kBuckets;
    static constexpr uint64_t kRampMs = 1000;

    // The time between two changes of state. Who sends something remembers the era, and of an
    // earlier one no outcome counts.
    using Era = uint16_t;

    // A question that was asked by whoever holds it.
    using Probe = uint64_t;

    // Now, and a random number for what must not be the same everywhere.
    struct Moment {
        uint64_t ms;
        uint32_t random;
    };

    // From here on silence counts.
    void begin(uint64_t now_ms) noexcept { alive_ms_ = now_ms; }

    // Whether one more request may pass. While it lets only a share pass, those of a worker that is
    // idle do all the same: they press nobody.
    [[nodiscard]] bool admits(const Moment& now, bool idle) const noexcept;

    [[nodiscard]] BreakerState state(uint64_t now_ms) const noexcept;
    [[nodiscard]] Era era() const noexcept;

    // How long until Redis is asked at the earliest; 0 if it may be now.
    [[nodiscard]] uint64_t opens_for_ms(uint64_t now_ms) const noexcept;

    // Outcomes. Of those that return a value, true: this has opened it, and nobody else did.
    void alive(uint64_t now_ms) noexcept;  // Redis answered something
    void stored(Era sent_in, uint64_t now_ms) noexcept;
    bool failed(const BreakerSettings& settings, const Moment& now, Era sent_in) noexcept;
    bool refused(const BreakerSettings& settings, const Moment& now, Era sent_in,
                 BreakerReason reason) noexcept;
    bool still_waiting(const BreakerSettings& settings, const Moment& now, Era sent_in,
                       uint64_t sent_ms) noexcept;
    bool not_connected(const BreakerSettings& settings, const Moment& now) noexcept;

    // The right to ask Redis, for one at a time; it ends by itself if nothing comes of it.
    bool take_probe(const BreakerSettings& settings, uint64_t now_ms, Probe* probe) noexcept;

    // True: this has closed it.
    bool probe_succeeded(Probe probe, uint64_t now_ms) noexcept;
    void probe_failed(const BreakerSettings& settings, const Moment& now, Probe probe) noexcept;

  private:
    void count(uint64_t now_ms, bool bad) noexcept;
    [[nodiscard]] bool too_many_failed(const BreakerSettings& settings, uint64_t now_ms,
                                       uint64_t closed_ms) const noexcept;

    std::atomic<uint64_t> state_{0};
    std::atomic<uint64_t> alive_ms_{0};   // when Redis last answered anything
    std::atomic<uint64_t> stored_ms_{0};  // when it last stored something
    std::atomic<uint64_t> buckets_[kBuckets] = {};

    static_assert(std::atomic<uint64_t>::is_always_lock_free, "it is shared between processes");
};

}  // namespace sluice
