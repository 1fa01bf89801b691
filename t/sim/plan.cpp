#include "t/sim/plan.hpp"

#include <algorithm>

#include "t/sim/sim_redis.hpp"

namespace sluice::sim {
namespace {

constexpr int64_t kMs = 1000;
constexpr int64_t kSecondUs = 1000 * kMs;
constexpr int64_t kHourMs = 3600 * 1000;
constexpr int64_t kForEverMs = 1000000 * kHourMs;
constexpr int64_t kMidnightMs = 1731628800000;  // 2024-11-15

LoadLimits draw_limits(Chance* chance) {
    LoadLimits limits;
    limits.batch_rows = chance->among({1, 4, 12, 50000});
    limits.batch_bytes = static_cast<uint64_t>(
        chance->among({200, 4096, 8 * 1024 * 1024, 8 * 1024 * 1024, 32 * 1024 * 1024}));
    limits.batch_age_us = chance->among({0 * kMs, 1 * kMs, 50 * kMs, 500 * kMs});
    limits.read_count_max = static_cast<uint32_t>(chance->among({1, 3, 64}));
    limits.claim_interval_us = chance->among({20 * kMs, 200 * kMs, 2 * kSecondUs});
    limits.trim_interval_us = chance->among({0 * kMs, 5 * kMs, 200 * kMs});
    limits.prune_interval_us = chance->among({10 * kSecondUs, 600 * kSecondUs});
    limits.ledger_keep_ms = chance->among({1, 2, 48}) * kHourMs;
    return limits;
}

}  // namespace

Plan::Plan(Chance* chance)
    : steps(static_cast<unsigned>(chance->between(60, 400))),
      loaders(static_cast<unsigned>(chance->among({1, 1, 2, 2, 3}))),
      limits(draw_limits(chance)),
      claim_idle_us(
          chance->among({0 * kMs, 10 * kMs, 500 * kMs, 3 * kSecondUs, kNeverIdleUs, kNeverIdleUs})),
      node_entries(chance->among({1U, 1U, 2U, 5U})),
      start_ms(kMidnightMs + chance->among({-kHourMs / 2, -300 * int64_t{1}, kHourMs / 2})),
      has_archive(chance->percent(40)),
      slow_lane(chance->percent(50) ? Lane::kRedis : Lane::kPg),
      slow_percent(static_cast<unsigned>(chance->among({0, 0, 80, 95}))),
      send_percent(static_cast<unsigned>(chance->among({4, 10, 25}))),
      odd_entry_percent(static_cast<unsigned>(chance->among({0, 0, 10, 60}))),
      poison_percent(static_cast<unsigned>(chance->among({0, 0, 5, 30}))),
      odd_time_percent(static_cast<unsigned>(chance->among({0, 10, 40}))),
      keyed_percent(static_cast<unsigned>(chance->among({0, 10, 50}))),
      fault_per_mille(static_cast<unsigned>(chance->among({0, 10, 30, 100, 100}))),
      snapshot_percent(static_cast<unsigned>(chance->among({1, 3, 10}))),
      hours_pass(chance->percent(20)) {
    if (has_archive) {
        limits.trim_groups.emplace_back(kGroupNames[static_cast<size_t>(GroupName::kArchive)]);
    }
    limits.trim_groups.emplace_back(kGroupNames[static_cast<size_t>(GroupName::kLoaders)]);
    const unsigned fault_percent = chance->among({8U, 15U, 40U});
    for (unsigned fault = 0; fault < static_cast<unsigned>(Fault::kCount); ++fault) {
        if (chance->percent(fault_percent)) {
            faults.push_back(static_cast<Fault>(fault));
        }
    }
    if (hours_pass && !has(Fault::kLongPause)) {
        faults.push_back(Fault::kLongPause);
    }
    // The ledger is pruned by the frames' own times, not by when they were stored: too early for
    // frames whose time is far off, and for a backlog older than what is kept, should Redis lose
    // the acknowledgements.
    if (odd_time_percent != 0 || (hours_pass && has(Fault::kRedisFallsBack))) {
        limits.ledger_keep_ms = kForEverMs;
    }
}

bool Plan::has(Fault fault) const {
    return fault_per_mille != 0 && std::find(faults.begin(), faults.end(), fault) != faults.end();
}

const char* name_of(Fault fault) noexcept {
    switch (fault) {
        case Fault::kRedisConnectionLost:
            return "redis connection lost";
        case Fault::kRedisRefuses:
            return "redis refuses";
        case Fault::kRedisCrash:
            return "redis crashes";
        case Fault::kRedisFallsBack:
            return "redis loses its last writes";
        case Fault::kStreamRemoved:
            return "stream removed";
        case Fault::kGroupRemoved:
            return "group removed";
        case Fault::kEntriesDeleted:
            return "entries deleted";
        case Fault::kRedisFull:
            return "redis is full";
        case Fault::kRedisClockJumps:
            return "redis' clock jumps";
        case Fault::kPgConnectionLost:
            return "postgres connection lost";
        case Fault::kPgRetry:
            return "postgres fails for once";
        case Fault::kPgRefuses:
            return "postgres refuses";
        case Fault::kPgRefusesAllRows:
            return "postgres refuses all rows";
        case Fault::kPgRestart:
            return "postgres restarts";
        case Fault::kPgFailOver:
            return "postgres fails over";
        case Fault::kPgPartitionDropped:
            return "partition dropped";
        case Fault::kLoaderKilled:
            return "loader killed";
        case Fault::kLoaderStopped:
            return "loader stopped";
        case Fault::kLaneStalls:
            return "lane stalls";
        case Fault::kWallClockJumps:
            return "wall clock jumps";
        case Fault::kLongPause:
            return "long pause";
        case Fault::kArchiveGone:
            return "archive group gone";
        case Fault::kCount:
            break;
    }
    return "?";
}

}  // namespace sluice::sim
