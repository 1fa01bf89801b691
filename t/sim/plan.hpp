// What kind of schedule a seed makes: how many loaders, how they are set, and which faults there
// are. Drawn for each schedule anew, since faults that are always there hide each other.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/load/core.hpp"
#include "t/sim/chance.hpp"

namespace sluice::sim {

enum class Fault : uint8_t {
    kRedisConnectionLost,
    kRedisRefuses,
    kRedisCrash,
    kRedisFallsBack,  // crashes, and comes back without its last writes
    kStreamRemoved,   // FLUSHALL, or DEL
    kGroupRemoved,
    kEntriesDeleted,  // by somebody's hand
    kRedisFull,
    kRedisClockJumps,
    kPgConnectionLost,
    kPgRetry,
    kPgRefuses,
    kPgRefusesAllRows,
    kPgRestart,
    kPgFailOver,
    kPgPartitionDropped,
    kLoaderKilled,
    kLoaderStopped,
    kLaneStalls,
    kWallClockJumps,
    kLongPause,
    kArchiveGone,  // another group that trimming waits for
    kCount,
};

enum class Lane : uint8_t { kRedis, kPg };

struct Plan {
    explicit Plan(Chance* chance);

    unsigned steps;
    unsigned loaders;
    LoadLimits limits;
    int64_t claim_idle_us;
    uint64_t node_entries;
    int64_t start_ms;       // the wall's clock in the beginning
    bool scripts_may_fill;  // the group can be made though Redis is full
    bool has_archive;       // a group that trimming waits for
    Lane slow_lane;         // it moves seldom
    unsigned slow_loader;   // whose; none has this number: of all
    unsigned slow_percent;
    unsigned send_percent;
    unsigned odd_entry_percent;  // of another layout than a frame's
    unsigned poison_percent;     // of records
    unsigned odd_time_percent;
    unsigned large_percent;  // of frames
    uint64_t copy_rows_max;  // more of them at once take longer than a statement may
    unsigned keyed_percent;
    unsigned fault_per_mille;
    std::vector<Fault> faults;
    unsigned snapshot_percent;  // of steps: how much is lost when Redis falls back
    bool hours_pass;            // in long pauses: only then may the ledger be pruned

    [[nodiscard]] bool has(Fault fault) const;
    // Whether claims find anything in the time that a schedule takes: if not, each loader must come
    // back to what it was given.
    [[nodiscard]] bool claims() const noexcept { return claim_idle_us < kNeverIdleUs; }
    static constexpr int64_t kNeverIdleUs = 100LL * 24 * 3600 * 1000 * 1000;
};

[[nodiscard]] const char* name_of(Fault fault) noexcept;

}  // namespace sluice::sim
