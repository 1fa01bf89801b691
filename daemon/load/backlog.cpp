#include "daemon/load/backlog.hpp"

#include <algorithm>
#include <cmath>

#include "daemon/load/actions.hpp"

namespace sluice {
namespace {

constexpr double kSizeWeight = 1.0 / 32;
constexpr double kDrainSeconds = 5;

}  // namespace

uint64_t BacklogCount::entries(const StreamLength& stream, const GroupPosition& group) noexcept {
    if (!(group.last_delivered < stream.last_generated)) {
        off_by_ = group.entries_read_known ? stream.added - group.entries_read : 0;
        return group.pending;
    }
    const uint64_t present = stream.entries > group.pending ? stream.entries - group.pending : 0;
    uint64_t undelivered = present > stream.kept ? present - stream.kept : 0;
    if (group.entries_read_known) {
        const auto counted = static_cast<int64_t>(stream.added - group.entries_read - off_by_);
        undelivered = std::min(present, static_cast<uint64_t>(std::max<int64_t>(counted, 1)));
    }
    return group.pending + undelivered;
}

void EntrySize::seen(uint64_t records, uint64_t bytes) noexcept {
    const double weight = any_ ? kSizeWeight : 1;
    any_ = true;
    records_ += weight * (static_cast<double>(records) - records_);
    bytes_ += weight * (static_cast<double>(bytes) - bytes_);
}

Amount EntrySize::of(uint64_t entries) const noexcept {
    const auto n = static_cast<double>(entries);
    return {static_cast<uint64_t>(n * records_), static_cast<uint64_t>(n * bytes_)};
}

void DrainRate::pass(int64_t now_us, bool had_work) noexcept {
    if (had_work) {
        const double seconds = static_cast<double>(now_us - now_us_) / 1e6;
        const double left = std::exp(-seconds / kDrainSeconds);
        weight_ = 1 - (1 - weight_) * left;
        records_ *= left;
        bytes_ *= left;
    }
    now_us_ = now_us;
}

void DrainRate::stored(uint64_t records, uint64_t bytes) noexcept {
    records_ += static_cast<double>(records) / kDrainSeconds;
    bytes_ += static_cast<double>(bytes) / kDrainSeconds;
}

Amount DrainRate::a_second() const noexcept {
    if (weight_ <= 0) {
        return {};
    }
    return {static_cast<uint64_t>(records_ / weight_), static_cast<uint64_t>(bytes_ / weight_)};
}

}  // namespace sluice
