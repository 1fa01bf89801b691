#include "daemon/load/waiting.hpp"

#include <algorithm>

namespace sluice {
namespace {

constexpr uint32_t kCountMax = 8;
constexpr uint64_t kPlaceBytes = 64 * 1024;
// Multiples of it, less their whole part, are spread evenly however many there are.
constexpr double kGoldenRatio = 0.6180339887498949;

}  // namespace

void EntrySample::add(const Entry& entry) noexcept {
    if (entry.error == FrameError::kUnknownVersion) {
        return;  // what it holds cannot be told
    }
    ++entries;
    records += entry.frame.records;
    bytes += entry.frame.rows.size();
    first = entries == 1 ? entry.id : first;
    last = entry.id;
}

Amount EntrySample::of(uint64_t count) const noexcept {
    if (entries == 0) {
        return {};
    }
    const double times = static_cast<double>(count) / static_cast<double>(entries);
    return {static_cast<uint64_t>(times * static_cast<double>(records)),
            static_cast<uint64_t>(times * static_cast<double>(bytes))};
}

void Waiting::measured(const StreamLength& stream, const StreamId& delivered, uint64_t entries) {
    const StreamId before = newest_;
    came_ = any_ && stream.added > added_ ? std::min(stream.added - added_, entries) : 0;
    if (!any_) {
        first_newest_ = stream.last_generated;
    }
    any_ = true;
    added_ = stream.added;
    newest_ = stream.last_generated;
    entries_ = entries;
    cut_parts();
    places_.clear();
    if (came_ != 0) {
        places_.push_back(std::max(before, delivered).next());
    }
    spread_.erase(spread_.begin(), spread_.upper_bound(delivered));
    if (entries == 0 || !(delivered < first_newest_)) {
        return;
    }
    if (first_ == StreamId{}) {
        places_.push_back(delivered.next());
    } else {
        first_ = std::max(first_, delivered.next());
        spread_places();
    }
}

// To what waits besides the entries that have just come.
void Waiting::cut_parts() {
    double left = static_cast<double>(entries_ - came_);
    size_t whole = parts_.size();
    while (whole != 0 && parts_[whole - 1].entries <= left) {
        left -= parts_[--whole].entries;
    }
    if (whole != 0 && left > 0) {
        Part& part = parts_[--whole];
        const double share = left / part.entries;
        part = {left, part.records * share, part.bytes * share};
    }
    parts_.erase(parts_.begin(), parts_.begin() + static_cast<ptrdiff_t>(whole));
}

void Waiting::spread_places() {
    const auto ms = static_cast<double>(first_newest_.ms - first_.ms);
    for (size_t i = 0; i < kSpreadAtOnce && spread_.size() + i < kSpreadMax; ++i) {
        const auto behind = static_cast<uint64_t>(ms * spread_at_);
        places_.push_back(behind == 0 ? first_ : StreamId{first_.ms + behind, 0});
        spread_at_ += kGoldenRatio;
        spread_at_ -= spread_at_ < 1 ? 0 : 1;
    }
}

void Waiting::looked(const std::vector<EntrySample>& found) {
    const std::vector<StreamId> places = std::move(places_);
    places_.clear();
    for (size_t i = 0; i < std::min(found.size(), places.size()); ++i) {
        const EntrySample& sample = found[i];
        if (sample.entries == 0) {
            continue;
        }
        count_ = static_cast<uint32_t>(std::clamp<uint64_t>(
            kPlaceBytes * sample.entries / (sample.bytes + 1), kCountAtLeast, kCountMax));
        const auto entries = static_cast<double>(sample.entries);
        const auto records = static_cast<double>(sample.records);
        const auto bytes = static_cast<double>(sample.bytes);
        if (i == 0 && came_ != 0) {
            const double times = static_cast<double>(came_) / entries;
            parts_.push_back({times * entries, times * records, times * bytes});
        } else if (first_ == StreamId{}) {
            first_ = std::min(sample.first, first_newest_);
            spread_places();
        } else {
            // Half of the time between two goes by before the first of them comes.
            const double ms = 1 + static_cast<double>(sample.last.ms - places[i].ms);
            const double times = (entries - 0.5) / entries / ms;
            spread_[places[i]] = {times * entries, times * records, times * bytes};
        }
    }
    came_ = 0;
    if (parts_.size() > kPartsMax) {
        join_smallest_parts();
    }
}

// Two that follow each other, so that all become about as large.
void Waiting::join_smallest_parts() {
    size_t smallest = 0;
    for (size_t i = 1; i + 1 < parts_.size(); ++i) {
        if (parts_[i].entries + parts_[i + 1].entries <
            parts_[smallest].entries + parts_[smallest + 1].entries) {
            smallest = i;
        }
    }
    const Part next = parts_[smallest + 1];
    parts_[smallest].entries += next.entries;
    parts_[smallest].records += next.records;
    parts_[smallest].bytes += next.bytes;
    parts_.erase(parts_.begin() + static_cast<ptrdiff_t>(smallest) + 1);
}

Waiting::Part Waiting::spread() const noexcept {
    Part sum;
    for (const auto& [place, part] : spread_) {
        sum.entries += part.entries;
        sum.records += part.records;
        sum.bytes += part.bytes;
    }
    return sum;
}

Amount Waiting::amount() const noexcept {
    Part all;
    for (const Part& part : parts_) {
        all.entries += part.entries;
        all.records += part.records;
        all.bytes += part.bytes;
    }
    // What has no part is as what was looked at, there or else anywhere; nothing is known of it if
    // Redis has let nobody look.
    Part kind = spread();
    if (kind.entries == 0) {
        kind = all.entries != 0 ? all : Part{1, 1, 0};
    }
    const double rest = std::max(static_cast<double>(entries_) - all.entries, 0.0);
    const double times = rest / kind.entries;
    return {static_cast<uint64_t>(all.records + times * kind.records + 0.5),
            static_cast<uint64_t>(all.bytes + times * kind.bytes + 0.5)};
}

}  // namespace sluice
