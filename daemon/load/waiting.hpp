// What the entries hold that no consumer was given yet. Redis tells how many they are and nothing
// of what is in them, so some are looked at where they wait.
//
// What came since the last time is a part of its own: as many entries as Redis counted, each as
// large as those of it that are looked at. The group is given the oldest first, so the parts are
// cut to what is left. What had come before the first time has no part: it is looked at in places
// spread over its time, each of which counts for as many entries as come there in a millisecond.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "daemon/entry.hpp"
#include "daemon/load/backlog.hpp"
#include "daemon/stream_id.hpp"

namespace sluice {

// Entries that follow each other in the stream.
struct EntrySample {
    uint64_t entries = 0;
    uint64_t records = 0;
    uint64_t bytes = 0;  // of their rows
    StreamId first;
    StreamId last;

    void add(const Entry& entry) noexcept;
    // What so many of the same kind hold.
    [[nodiscard]] Amount of(uint64_t count) const noexcept;
};

class Waiting {
  public:
    // Of entries, each of which may be a megabyte: no further place is looked at.
    static constexpr uint64_t kLookBytesMax = 4 * 1024 * 1024;
    static constexpr size_t kPartsMax = 512;

    // As Redis counts now: so many of the stream's entries lie behind what was delivered.
    void measured(const StreamLength& stream, const StreamId& delivered, uint64_t entries);

    // Where to look before the amount is asked for, and at how many entries in each of the places.
    // Empty if there is nothing to be learned.
    [[nodiscard]] const std::vector<StreamId>& places() const noexcept { return places_; }
    [[nodiscard]] uint32_t count() const noexcept { return count_; }
    // What was found in the first of the places. There may be others to look at then.
    void looked(const std::vector<EntrySample>& found);

    [[nodiscard]] Amount amount() const noexcept;
    // What is remembered is bounded.
    [[nodiscard]] size_t parts() const noexcept { return parts_.size(); }

  private:
    struct Part {
        double entries = 0;
        double records = 0;
        double bytes = 0;
    };
    static constexpr uint32_t kCountAtLeast = 4;
    static constexpr size_t kSpreadMax = 128;
    static constexpr size_t kSpreadAtOnce = 64;

    void cut_parts();
    void spread_places();
    void join_smallest_parts();
    [[nodiscard]] Part spread() const noexcept;

    bool any_ = false;
    // Where that lies which had come before the first time: first_ is known once it was looked at.
    StreamId first_;
    StreamId first_newest_;
    StreamId newest_;
    uint64_t added_ = 0;
    uint64_t entries_ = 0;
    uint64_t came_ = 0;
    std::deque<Part> parts_;           // the oldest first
    std::map<StreamId, Part> spread_;  // by place: what comes there in a millisecond
    double spread_at_ = 0;
    std::vector<StreamId> places_;
    uint32_t count_ = kCountAtLeast;
};

}  // namespace sluice
