// What is told to the edge, which sheds by it: how much waits to be stored, and how fast that goes.
#pragma once

#include <cstdint>

#include "daemon/stream_id.hpp"

namespace sluice {

struct GroupPosition;

// Of the stream as a whole.
struct StreamLength {
    uint64_t entries = 0;  // acknowledged ones too, until they are trimmed
    uint64_t added = 0;    // ever
    StreamId last_generated;
    uint64_t kept = 0;  // acknowledged ones, when a loader last told
};

// How many entries wait for a group, whoever of it reads them: those that were delivered and not
// acknowledged, which Redis counts, and those that were not delivered yet, which it does not.
//
// All that were ever added, less all that the group was ever given, would be the latter. But
// Redis 7.0 does not keep "entries-read" in its AOF: after a restart it is missing, or stands still
// where the last rewrite left it, and counts on from there. So by how much it is off is seen
// whenever the group has come to the stream's end, where nothing waits. Until then, and after
// somebody deleted entries by hand, the entries that are in the stream and not pending bound it,
// less those that are kept for who watches, of which the loaders tell how many they are.
class BacklogCount {
  public:
    // Redis may have been started anew.
    void forget() noexcept { off_by_ = 0; }

    // The group's position must have been asked for first: what is added in between then waits.
    [[nodiscard]] uint64_t entries(const StreamLength& stream, const GroupPosition& group) noexcept;

  private:
    uint64_t off_by_ = 0;  // modulo 2^64: it may be either way
};

struct Amount {
    uint64_t records = 0;
    uint64_t bytes = 0;
};

// What an entry holds, by those that were read lately.
class EntrySize {
  public:
    void seen(uint64_t records, uint64_t bytes) noexcept;
    [[nodiscard]] Amount of(uint64_t entries) const noexcept;

  private:
    bool any_ = false;
    double records_ = 1;
    double bytes_ = 0;
};

// What was stored a second while there was something to store, over the last seconds of such time:
// idle times say nothing about how fast it would go.
class DrainRate {
  public:
    // had_work: since the last call.
    void pass(int64_t now_us, bool had_work) noexcept;
    void stored(uint64_t records, uint64_t bytes) noexcept;
    [[nodiscard]] Amount a_second() const noexcept;

  private:
    int64_t now_us_ = 0;
    // Each loses its older part as time passes. The weight is that of a rate of 1: how much of the
    // time that counts has been seen at all.
    double weight_ = 0;
    double records_ = 0;
    double bytes_ = 0;
};

}  // namespace sluice
