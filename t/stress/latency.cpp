#include "t/stress/latency.hpp"

#include <algorithm>
#include <cmath>

namespace sluice::stress {
namespace {

// Of each power of two so many buckets of the same width.
constexpr unsigned kBits = 7;
constexpr uint64_t kInEach = 1 << kBits;
constexpr unsigned kPowers = 40;

unsigned log2_of(uint64_t value) {
    return 63 - static_cast<unsigned>(__builtin_clzll(value));
}

size_t bucket_of(uint64_t us) {
    if (us < kInEach) {
        return us;
    }
    const unsigned shift = log2_of(us) - kBits;
    return std::min<size_t>((shift + 1) * kInEach + ((us >> shift) - kInEach),
                            kPowers * kInEach - 1);
}

// The largest value in it.
uint64_t end_of(size_t bucket) {
    if (bucket < kInEach) {
        return bucket;
    }
    const size_t shift = bucket / kInEach - 1;
    return ((kInEach + bucket % kInEach + 1) << shift) - 1;
}

}  // namespace

Latency::Latency() : buckets_(kPowers * kInEach) {}

void Latency::seen(uint64_t us) {
    ++buckets_[bucket_of(us)];
    ++count_;
    sum_us_ += us;
    min_us_ = std::min(min_us_, us);
    max_us_ = std::max(max_us_, us);
}

double Latency::min_ms() const noexcept {
    return count_ == 0 ? 0 : static_cast<double>(min_us_) / 1000;
}

double Latency::average_ms() const noexcept {
    return count_ == 0 ? 0 : static_cast<double>(sum_us_) / static_cast<double>(count_) / 1000;
}

double Latency::max_ms() const noexcept {
    return static_cast<double>(max_us_) / 1000;
}

double Latency::percentile_ms(double percent) const {
    const auto rank = static_cast<uint64_t>(std::ceil(percent / 100 * static_cast<double>(count_)));
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
        seen += buckets_[bucket];
        if (seen >= rank && seen != 0) {
            return static_cast<double>(std::min(end_of(bucket), max_us_)) / 1000;
        }
    }
    return 0;
}

}  // namespace sluice::stress
