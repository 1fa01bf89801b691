// Shedding: which share of each level is refused on purpose, because the system is behind. Pure
// arithmetic; who watches the system calls it now and then, and everybody else reads one word.
//
//   share of a level
//   1 |        ______          from its watermark to that of the next level it rises to 1; the last
//     |       /                one's is 1 at once
//     |      /
//   0 |_____/________ pressure
//
// Once a level is shed, that goes on until the pressure is the hysteresis below its watermark:
// while it is active its ramp is shifted down by so much. So where the ramp is steeper than the
// hysteresis is wide a level begins with all of it. A higher level is never shed more than a lower
// one.
#pragma once

#include <cstdint>

#include "common/record_rules.hpp"

namespace sluice {

// Pressures and watermarks are parts of this many.
inline constexpr uint32_t kPressureWhole = 10000;

struct ShedMarks {
    // Each above the one before; the hysteresis is less than the first.
    uint32_t level[kLevelCount] = {6000, 7000, 8000, 8800, 9500};
    uint32_t hysteresis = 300;
};

// used of max, at most 100 times; none if there is no max.
[[nodiscard]] uint32_t pressure_of(uint64_t used, uint64_t max) noexcept;

// Packed into one word: 12 bits a level for its share, 3 for the number of active levels, which are
// always the lowest ones.
class ShedState {
  public:
    static constexpr uint32_t kShareWhole = 4095;

    ShedState() noexcept = default;
    explicit ShedState(uint64_t word) noexcept : word_(word) {}
    [[nodiscard]] uint64_t word() const noexcept { return word_; }

    [[nodiscard]] uint32_t share(Level level) const noexcept {
        return word_ >> (kShareBits * static_cast<unsigned>(level)) & kShareWhole;
    }
    // By any random number.
    [[nodiscard]] bool sheds(Level level, uint32_t random) const noexcept {
        return random % kShareWhole < share(level);
    }
    // Levels of which some is shed: from DEBUG up to this one, which is not.
    [[nodiscard]] unsigned active() const noexcept {
        return static_cast<unsigned>(word_ >> kActiveShift);
    }
    [[nodiscard]] bool sheds_all() const noexcept { return active() == kLevelCount; }

    // What is to be shed under this pressure, after this state.
    [[nodiscard]] ShedState next(const ShedMarks& marks, uint32_t pressure) const noexcept;

  private:
    static constexpr unsigned kShareBits = 12;
    static constexpr unsigned kActiveShift = kShareBits * kLevelCount;

    uint64_t word_ = 0;
};

// Seconds until so much pressure is gone, by 1 to 60: what is above the level's watermark (less the
// hysteresis, as it is shed), of a capacity, at a rate a second. Spread by a fifth either way with
// any random number, so that those who were refused together do not come back together.
[[nodiscard]] uint32_t shed_retry_after(const ShedMarks& marks, Level level, uint32_t pressure,
                                        uint64_t capacity, uint64_t drain,
                                        uint32_t random) noexcept;

}  // namespace sluice
