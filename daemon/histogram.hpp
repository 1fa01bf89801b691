// Counts by size, as Prometheus' histograms have them. Not for several threads at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "common/metrics_text.hpp"

namespace sluice {

// kBounds: an array, rising; a value that is equal to a bound is within it.
template <const auto& kBounds>
class Histogram {
  public:
    void seen(uint64_t value, uint64_t times = 1) noexcept {
        const auto* const bound = std::lower_bound(std::begin(kBounds), std::end(kBounds), value);
        counts_[static_cast<size_t>(bound - std::begin(kBounds))] += times;
        sum_ += value * times;
    }

    void add(const Histogram& other) noexcept {
        for (size_t i = 0; i <= std::size(kBounds); ++i) {
            counts_[i] += other.counts_[i];
        }
        sum_ += other.sum_;
    }

    // Values are in units of 1/scale.
    void write(uint64_t scale, MetricsText* text) const noexcept {
        text->histogram(kBounds, counts_, std::size(kBounds), sum_, scale);
    }

  private:
    uint64_t counts_[std::size(kBounds) + 1] = {};
    uint64_t sum_ = 0;
};

}  // namespace sluice
