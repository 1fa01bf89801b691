#include "common/shed.hpp"

#include <algorithm>

namespace sluice {
namespace {

constexpr uint32_t kPressureMax = 100 * kPressureWhole;
constexpr double kRetrySecondsMax = 60;

}  // namespace

uint32_t pressure_of(uint64_t used, uint64_t max) noexcept {
    if (max == 0) {
        return 0;
    }
    const double parts = static_cast<double>(used) * kPressureWhole / static_cast<double>(max);
    return static_cast<uint32_t>(std::min<double>(parts, kPressureMax));
}

ShedState ShedState::next(const ShedMarks& marks, uint32_t pressure) const noexcept {
    uint64_t active = 0;
    uint64_t word = 0;
    for (unsigned level = 0; level < kLevelCount; ++level) {
        const uint32_t shift = level < this->active() ? marks.hysteresis : 0;
        const uint32_t begin = marks.level[level] - shift;
        if (pressure < begin) {
            break;
        }
        // Active from its watermark on, where the ramp begins to be shifted.
        ++active;
        const uint32_t above = pressure + marks.hysteresis - marks.level[level];
        uint64_t share = kShareWhole;
        if (level + 1 < kLevelCount) {
            const uint32_t width = marks.level[level + 1] - marks.level[level];
            share = std::min<uint64_t>(uint64_t{above} * kShareWhole / width, kShareWhole);
        }
        word |= share << (kShareBits * level);
    }
    return ShedState(word | active << kActiveShift);
}

uint32_t shed_retry_after(const ShedMarks& marks, Level level, uint32_t pressure, uint64_t capacity,
                          uint64_t drain, uint32_t random) noexcept {
    const uint32_t mark = marks.level[static_cast<unsigned>(level)] - marks.hysteresis;
    const uint32_t above = pressure > mark ? pressure - mark : 0;
    double seconds = kRetrySecondsMax;
    if (drain != 0) {
        seconds = static_cast<double>(above) / kPressureWhole * static_cast<double>(capacity) /
                  static_cast<double>(drain);
    }
    seconds = std::min(std::max(seconds, 1.0), kRetrySecondsMax);
    seconds *= 0.8 + 0.4 * (random % 1024) / 1023.0;
    return static_cast<uint32_t>(std::min(std::max(seconds + 0.5, 1.0), kRetrySecondsMax));
}

}  // namespace sluice
