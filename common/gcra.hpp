// The arithmetic of a rate limit: the generic cell rate algorithm. All that is known of a client is
// one word, its theoretical arrival time (TAT): the moment, in ns of the clock that now_ns comes
// from, at which it would have sent all it sent had it kept to the rate. A word <= now owes nothing
// and says as much as no word.
//
//   now          now + burst          now + burst + delay
//    |--- passes at once ---|--- waits its turn ---|--- is refused      (the TAT it would leave)
//
// What passes in any time t is at most burst + rate * (t + 1 ns): every charge is rounded up to the
// ns, and so is the burst. The same holds for what is released, when each is released as late as it
// was told to, except that n > burst units, which a delay lets in, are released at one moment, when
// the last of them would have arrived in step.
//
// The workers' clocks may differ by what one turn of their event loops takes: bounds are in terms
// of the words and the now_ns given, and no debt is forgiven because of a now_ns that lags. It may
// refuse what was due, so whoever is refused is judged again by a clock that was just looked at.
#pragma once

#include <cstdint>

namespace sluice {

enum class Verdict : uint8_t {
    kPass,
    kWait,    // hold it for wait_ns, then it passes: charge it now
    kRefuse,  // after wait_ns the same would pass or wait
    kNever,   // it is more than burst and delay together
};

struct Judgement {
    Verdict verdict;
    uint64_t wait_ns = 0;

    [[nodiscard]] bool admitted() const noexcept { return verdict <= Verdict::kWait; }
};

class GcraLimit {
  public:
    // Bounds burst and delay: 36 years. A word is never 2^61 ahead of now.
    static constexpr uint64_t kNsMax = uint64_t{1} << 60;

    // A word so much further ahead than one can be was written under another limit or another
    // clock, and is taken for the most that can be owed. Less can be workers of which one lags.
    static constexpr uint64_t kClockSkewNs = uint64_t{10} * 1000 * 1000 * 1000;

    // So many units (records or bytes) in period_ns; burst counts as 1 at least. Where limits of
    // different burst and delay judge the same words, owed_max_ns is the most that any of them lets
    // anyone owe.
    GcraLimit(uint64_t units, uint64_t period_ns, uint64_t burst, uint64_t delay_ns,
              uint64_t owed_max_ns = 0) noexcept;

    // The same with the rate divided by shares, and a burst of so many ns, delay included.
    [[nodiscard]] GcraLimit share(uint64_t shares, uint64_t burst_ns) const noexcept;

    // What n units take at the rate, rounded up; more than anyone may owe if that is beyond kNsMax.
    [[nodiscard]] uint64_t cost_ns(uint64_t n) const noexcept;
    [[nodiscard]] uint64_t burst_ns() const noexcept { return burst_ns_; }
    [[nodiscard]] uint64_t delay_ns() const noexcept { return delay_ns_; }

    [[nodiscard]] Judgement judge(uint64_t tat, uint64_t now_ns, uint64_t n) const noexcept;

    // The word after n units that were admitted at now_ns.
    [[nodiscard]] uint64_t spent(uint64_t tat, uint64_t now_ns, uint64_t n) const noexcept;

    // The word once n units are given back, whose charge had left the word charged_tat. Only what
    // is still owed of them counts. Those who wait behind keep their places: a newcomer may be
    // released together with them, by no more than what was given back.
    [[nodiscard]] uint64_t given_back(uint64_t tat, uint64_t charged_tat, uint64_t now_ns,
                                      uint64_t n) const noexcept;

    // The most units that are not kNever.
    [[nodiscard]] uint64_t largest() const noexcept;

    // The word itself, or what it is taken for if it cannot be.
    [[nodiscard]] uint64_t healed(uint64_t tat, uint64_t now_ns) const noexcept;

    // How many units would pass at once, and how long until that is the whole burst again.
    [[nodiscard]] uint64_t remaining(uint64_t tat, uint64_t now_ns) const noexcept;
    [[nodiscard]] uint64_t full_in_ns(uint64_t tat, uint64_t now_ns) const noexcept;

  private:
    uint64_t owed_ns(uint64_t tat, uint64_t now_ns) const noexcept;

    uint64_t units_;
    uint64_t period_ns_;
    uint64_t burst_;
    uint64_t burst_ns_;
    uint64_t delay_ns_;
    uint64_t owed_max_ns_;
};

}  // namespace sluice
