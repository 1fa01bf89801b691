#include "common/gcra.hpp"

#include <algorithm>

namespace sluice {

namespace {

__extension__ using uint128_t = unsigned __int128;

// More than burst_ns + delay_ns can be.
constexpr uint64_t kTooMuchNs = 4 * GcraLimit::kNsMax;

}  // namespace

GcraLimit::GcraLimit(uint64_t units, uint64_t period_ns, uint64_t burst, uint64_t delay_ns,
                     uint64_t owed_max_ns) noexcept
    : units_(units),
      period_ns_(period_ns),
      burst_(std::max<uint64_t>(burst, 1)),
      burst_ns_(std::min(cost_ns(burst_), kNsMax)),
      delay_ns_(std::min(delay_ns, kNsMax)),
      owed_max_ns_(std::clamp(owed_max_ns, burst_ns_ + delay_ns_, 2 * kNsMax)) {}

GcraLimit GcraLimit::share(uint64_t shares, uint64_t burst_ns) const noexcept {
    const uint64_t period_ns = period_ns_ > UINT64_MAX / shares ? UINT64_MAX : period_ns_ * shares;
    GcraLimit limit(units_, period_ns, burst_, delay_ns_, owed_max_ns_);
    limit.burst_ns_ = std::max(std::min(burst_ns, kNsMax), delay_ns_) - delay_ns_;
    return limit;
}

uint64_t GcraLimit::cost_ns(uint64_t n) const noexcept {
    if (n == 0) {
        return 0;
    }
    if (units_ == 0) {
        return kTooMuchNs;
    }
    const uint128_t cost = (static_cast<uint128_t>(n) * period_ns_ + units_ - 1) / units_;
    return cost > kNsMax ? kTooMuchNs : static_cast<uint64_t>(cost);
}

uint64_t GcraLimit::healed(uint64_t tat, uint64_t now_ns) const noexcept {
    const uint64_t latest = now_ns + owed_max_ns_;
    return tat > latest + kClockSkewNs ? latest : tat;
}

uint64_t GcraLimit::owed_ns(uint64_t tat, uint64_t now_ns) const noexcept {
    return std::max(healed(tat, now_ns), now_ns) - now_ns;
}

Judgement GcraLimit::judge(uint64_t tat, uint64_t now_ns, uint64_t n) const noexcept {
    const uint64_t cost = cost_ns(n);
    if (cost > burst_ns_ + delay_ns_) {
        return {Verdict::kNever};
    }
    const uint64_t owed = owed_ns(tat, now_ns) + cost;
    if (owed <= burst_ns_) {
        return {Verdict::kPass};
    }
    const uint64_t beyond = owed - burst_ns_;
    return beyond <= delay_ns_ ? Judgement{Verdict::kWait, beyond}
                               : Judgement{Verdict::kRefuse, beyond - delay_ns_};
}

uint64_t GcraLimit::spent(uint64_t tat, uint64_t now_ns, uint64_t n) const noexcept {
    return now_ns + owed_ns(tat, now_ns) + cost_ns(n);
}

uint64_t GcraLimit::given_back(uint64_t tat, uint64_t charged_tat, uint64_t now_ns,
                               uint64_t n) const noexcept {
    const uint64_t back = std::min(cost_ns(n), owed_ns(charged_tat, now_ns));
    return tat - std::min(tat, back);
}

uint64_t GcraLimit::remaining(uint64_t tat, uint64_t now_ns) const noexcept {
    const uint64_t owed = owed_ns(tat, now_ns);
    if (owed >= burst_ns_) {
        return 0;
    }
    if (period_ns_ == 0) {
        return burst_;
    }
    const uint128_t units = static_cast<uint128_t>(burst_ns_ - owed) * units_ / period_ns_;
    return static_cast<uint64_t>(std::min<uint128_t>(units, burst_));
}

uint64_t GcraLimit::largest() const noexcept {
    if (period_ns_ == 0) {
        return UINT64_MAX;
    }
    const uint128_t units = static_cast<uint128_t>(burst_ns_ + delay_ns_) * units_ / period_ns_;
    return static_cast<uint64_t>(std::min<uint128_t>(units, UINT64_MAX));
}

uint64_t GcraLimit::full_in_ns(uint64_t tat, uint64_t now_ns) const noexcept {
    return owed_ns(tat, now_ns);
}

}  // namespace sluice
