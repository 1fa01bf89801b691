#include "common/breaker.hpp"

#include <algorithm>

namespace sluice {
namespace {

enum class Mode : uint8_t { kClosed = 0, kOpen, kProbing };

// A lease is a little longer than a reply may take.
constexpr uint64_t kLeaseMoreMs = 500;
constexpr uint32_t kRampSteps = 4;

constexpr int kReasonShift = 2;
constexpr int kEraShift = 6;
constexpr int kTimeShift = 22;

// The word of the state:  42 bits milliseconds | 16 bits era | 4 bits reason | 2 bits mode
struct Word {
    Mode mode;
    BreakerReason reason;  // why it opened last
    Breaker::Era era;
    uint64_t ms;  // closed: since when, 0 = ever since; open: until when; probing: the lease's end
};

Word unpack(uint64_t word) {
    return {static_cast<Mode>(word & 3), static_cast<BreakerReason>(word >> kReasonShift & 15),
            static_cast<Breaker::Era>(word >> kEraShift), word >> kTimeShift};
}

uint64_t pack(Mode mode, BreakerReason reason, Breaker::Era era, uint64_t ms) {
    return ms << kTimeShift | static_cast<uint64_t>(era) << kEraShift |
           static_cast<uint64_t>(reason) << kReasonShift | static_cast<uint64_t>(mode);
}

// Clocks of workers are read once a turn: one may be a little behind what another has written.
uint64_t elapsed(uint64_t since_ms, uint64_t now_ms) {
    return now_ms > since_ms ? now_ms - since_ms : 0;
}

bool is_ramping(const Word& word, uint64_t now_ms) {
    return word.ms != 0 && elapsed(word.ms, now_ms) < Breaker::kRampMs;
}

uint64_t opened(const BreakerSettings& settings, const Breaker::Moment& now, const Word& word,
                BreakerReason reason) {
    const uint64_t pause = static_cast<uint64_t>(settings.open_ms) * (80 + now.random % 41) / 100;
    return pack(Mode::kOpen, reason, static_cast<Breaker::Era>(word.era + 1), now.ms + pause);
}

bool open(std::atomic<uint64_t>& state, const BreakerSettings& settings, const Breaker::Moment& now,
          Breaker::Era sent_in, BreakerReason reason) {
    uint64_t seen = state;
    const Word word = unpack(seen);
    return word.mode == Mode::kClosed && word.era == sent_in &&
           state.compare_exchange_strong(seen, opened(settings, now, word, reason));
}

// The word of a bucket:  32 bits epoch | 16 bits calls | 16 bits bad
struct Bucket {
    uint32_t epoch;
    uint16_t calls;
    uint16_t bad;
};

Bucket unpack_bucket(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint16_t>(word >> 16),
            static_cast<uint16_t>(word)};
}

uint64_t pack_bucket(const Bucket& bucket) {
    return static_cast<uint64_t>(bucket.epoch) << 32 | static_cast<uint64_t>(bucket.calls) << 16 |
           bucket.bad;
}

uint32_t epoch_of(uint64_t ms) {
    return static_cast<uint32_t>(ms / Breaker::kBucketMs);
}

}  // namespace

bool Breaker::admits(const Moment& now, bool idle) const noexcept {
    const Word word = unpack(state_);
    if (word.mode != Mode::kClosed) {
        return false;
    }
    if (idle || !is_ramping(word, now.ms)) {
        return true;
    }
    const uint64_t step = elapsed(word.ms, now.ms) * kRampSteps / kRampMs + 1;
    return now.random % kRampSteps < step;
}

BreakerState Breaker::state(uint64_t now_ms) const noexcept {
    const Word word = unpack(state_);
    if (word.mode == Mode::kProbing && now_ms < word.ms) {
        return BreakerState::kHalfOpen;
    }
    return word.mode == Mode::kClosed ? BreakerState::kClosed : BreakerState::kOpen;
}

Breaker::Era Breaker::era() const noexcept {
    return unpack(state_).era;
}

uint64_t Breaker::opens_for_ms(uint64_t now_ms) const noexcept {
    const Word word = unpack(state_);
    return word.mode == Mode::kOpen ? elapsed(now_ms, word.ms) : 0;
}

void Breaker::alive(uint64_t now_ms) noexcept {
    alive_ms_ = now_ms;
}

void Breaker::stored(Era sent_in, uint64_t now_ms) noexcept {
    alive_ms_ = now_ms;
    stored_ms_ = now_ms;
    if (era() == sent_in) {
        count(now_ms, false);
    }
}

bool Breaker::failed(const BreakerSettings& settings, const Moment& now, Era sent_in) noexcept {
    const Word word = unpack(state_);
    if (word.era != sent_in) {
        return false;
    }
    count(now.ms, true);
    return (is_ramping(word, now.ms) || too_many_failed(settings, now.ms, word.ms)) &&
           open(state_, settings, now, sent_in, BreakerReason::kFailures);
}

bool Breaker::refused(const BreakerSettings& settings, const Moment& now, Era sent_in,
                      BreakerReason reason) noexcept {
    return open(state_, settings, now, sent_in, reason);
}

// If something else was stored meanwhile, it is only the connection of whoever waits.
bool Breaker::still_waiting(const BreakerSettings& settings, const Moment& now, Era sent_in,
                            uint64_t sent_ms) noexcept {
    return elapsed(sent_ms, now.ms) >= settings.slow_ms && stored_ms_ <= sent_ms &&
           open(state_, settings, now, sent_in, BreakerReason::kStall);
}

// If somebody reached Redis, it is only this worker that does not.
bool Breaker::not_connected(const BreakerSettings& settings, const Moment& now) noexcept {
    return elapsed(alive_ms_, now.ms) >= kWindowMs &&
           open(state_, settings, now, era(), BreakerReason::kConnection);
}

bool Breaker::take_probe(const BreakerSettings& settings, uint64_t now_ms, Probe* probe) noexcept {
    uint64_t seen = state_;
    const Word word = unpack(seen);
    if (word.mode == Mode::kClosed || now_ms < word.ms) {
        return false;
    }
    *probe = pack(Mode::kProbing, word.reason, static_cast<Era>(word.era + 1),
                  now_ms + settings.slow_ms + kLeaseMoreMs);
    return state_.compare_exchange_strong(seen, *probe);
}

bool Breaker::probe_succeeded(Probe probe, uint64_t now_ms) noexcept {
    const Word word = unpack(probe);
    return state_.compare_exchange_strong(
        probe, pack(Mode::kClosed, word.reason, static_cast<Era>(word.era + 1), now_ms));
}

void Breaker::probe_failed(const BreakerSettings& settings, const Moment& now,
                           Probe probe) noexcept {
    const Word word = unpack(probe);
    state_.compare_exchange_strong(probe, opened(settings, now, word, word.reason));
}

void Breaker::count(uint64_t now_ms, bool bad) noexcept {
    const uint32_t epoch = epoch_of(now_ms);
    std::atomic<uint64_t>& word = buckets_[epoch % kBuckets];
    uint64_t seen = word;
    uint64_t next;
    do {
        Bucket bucket = unpack_bucket(seen);
        if (bucket.epoch != epoch) {
            bucket = {epoch, 0, 0};
        }
        if (bucket.calls == UINT16_MAX) {
            bucket.calls /= 2;
            bucket.bad /= 2;
        }
        bucket.calls++;
        bucket.bad = static_cast<uint16_t>(bucket.bad + bad);
        next = pack_bucket(bucket);
    } while (!word.compare_exchange_weak(seen, next));
}

// What was counted before it closed is another story.
bool Breaker::too_many_failed(const BreakerSettings& settings, uint64_t now_ms,
                              uint64_t closed_ms) const noexcept {
    const uint32_t now = epoch_of(now_ms);
    const uint32_t closed = epoch_of(closed_ms);
    uint64_t calls = 0;
    uint64_t bad = 0;
    for (const std::atomic<uint64_t>& word : buckets_) {
        const Bucket bucket = unpack_bucket(word);
        if (bucket.epoch > closed && bucket.epoch + kBuckets > now) {
            calls += bucket.calls;
            bad += bucket.bad;
        }
    }
    return calls >= settings.calls_min && bad * 100 >= calls * settings.failures_percent;
}

}  // namespace sluice
