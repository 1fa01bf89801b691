// Where every decision of a schedule comes from: one seed, so that it reproduces exactly.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::sim {

class Chance {
  public:
    explicit Chance(uint64_t seed) noexcept : state_(seed) {}

    // SplitMix64: neighbouring seeds have nothing in common.
    uint64_t next() noexcept {
        uint64_t z = state_ += 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }
    uint64_t below(uint64_t end) noexcept { return next() % end; }
    int64_t between(int64_t first, int64_t last) noexcept {
        return first + static_cast<int64_t>(below(static_cast<uint64_t>(last - first) + 1));
    }
    bool percent(unsigned percent) noexcept { return below(100) < percent; }
    bool one_in(uint64_t n) noexcept { return below(n) == 0; }

    template <typename T, size_t n>
    const T& among(const T (&choices)[n]) noexcept {
        return choices[below(n)];
    }

  private:
    uint64_t state_;
};

}  // namespace sluice::sim
