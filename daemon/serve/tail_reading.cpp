#include "daemon/serve/tail_reading.hpp"

#include <algorithm>

namespace sluice {

void TailReading::begin(const StreamEnds& ends) noexcept {
    begun_ = true;
    to_ = ends.last;
    added_ = ends.added;
}

void TailReading::lost_state() noexcept {
    lost_to_ = std::max(lost_to_, to_);
}

TailLoss TailReading::went_on(const std::vector<Entry>& entries, const StreamEnds& ends) noexcept {
    const StreamId last = entries.back().id;
    const uint64_t expected = added_ + entries.size();
    added_ = expected;
    if (ends.last == last) {
        added_ = ends.added;
    } else {
        const auto first = std::find_if(entries.begin(), entries.end(),
                                        [&](const Entry& entry) { return entry.id == ends.first; });
        if (first != entries.end()) {
            added_ = ends.added - ends.length + static_cast<uint64_t>(entries.end() - first);
        }
    }
    const bool state_lost = added_ < expected;
    if (state_lost) {
        lost_state();
    }
    to_ = last;
    return state_lost           ? TailLoss::kStateLost
           : added_ == expected ? TailLoss::kNone
                                : TailLoss::kWindowPassed;
}

TailLoss TailReading::looked(const StreamEnds& ends) noexcept {
    if (to_ < ends.last || (ends.last == to_ && ends.added == added_)) {
        return TailLoss::kNone;
    }
    lost_state();
    begin(ends);
    return TailLoss::kStateLost;
}

// The stream is trimmed from its beginning: what is there behind one that is there was not trimmed,
// and where nothing was trimmed yet, nothing else was.
TailLoss TailReading::why_gone(const StreamId& entry, const StreamEnds& ends) const noexcept {
    const bool older_are_there = ends.length != 0 && ends.first < entry;
    const bool none_was_trimmed = ends.added == ends.length;
    return older_are_there || none_was_trimmed || !(lost_to_ < entry) ? TailLoss::kStateLost
                                                                      : TailLoss::kWindowPassed;
}

}  // namespace sluice
