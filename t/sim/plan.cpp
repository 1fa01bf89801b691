#include "t/sim/plan.hpp"

#include <algorithm>

#include "t/sim/sim_redis.hpp"

namespace sluice::sim {
namespace {

constexpr int64_t kMs = 1000;
constexpr int64_t kSecondUs = 1000 * kMs;
constexpr unsigned kMebibyte = 1024 * 1024;
constexpr int64_t kHourMs = 3600 * 1000;
constexpr int64_t kForEverMs = 1000000 * kHourMs;
constexpr int64_t kMidnightMs = 1731628800000;  // 2024-11-15

LoadLimits draw_limits(Chance* chance) {
    LoadLimits limits;
    limits.batch_rows = chance->among({1, 4, 12, 50000});
    limits.batch_bytes = chance->among({200U, 4096U, 8 * kMebibyte, 8 * kMebibyte, 32 * kMebibyte});
    limits.batch_age_us = chance->among({int64_t{0}, 1 * kMs, 50 * kMs, 500 * kMs});
    limits.read_count_max = chance->among({1U, 3U, 64U});
    limits.claim_interval_us = chance->among({20 * kMs, 200 * kMs, 2 * kSecondUs});
    limits.trim_interval_us = chance->among({int64_t{0}, 5 * kMs, 200 * kMs});
    limits.prune_interval_us = chance->among({10 * kSecondUs, 600 * kSecondUs});
    limits.ledger_keep_ms = chance->among({1, 2, 48}) * kHourMs;
    limits.tail_window_bytes = chance->among({0U, 0U, 500U, 5000U, 32 * kMebibyte});
    return limits;
}

}  // namespace

Plan::Plan(Chance* chance)
    : steps(static_cast<unsigned>(chance->between(60, 400))),
      loaders(chance->among({1U, 1U, 2U, 2U, 3U})),
      limits(draw_limits(chance)),
      claim_idle_us(chance->among(
          {int64_t{0}, 10 * kMs, 500 * kMs, 3 * kSecondUs, kNeverIdleUs, kNeverIdleUs})),
      node_entries(chance->among({1U, 1U, 2U, 5U})),
      start_ms(kMidnightMs + chance->among({-kHourMs / 2, int64_t{-300}, kHourMs / 2})),
      scripts_may_fill(chance->percent(70)),
      has_archive(chance->percent(40)),
      slow_lane(chance->percent(50) ? Lane::kRedis : Lane::kPg),
      slow_loader(static_cast<unsigned>(chance->below(loaders + 1))),
      slow_percent(chance->among({0U, 0U, 80U, 95U})),
      send_percent(chance->among({4U, 10U, 25U})),
      odd_entry_percent(chance->among({0U, 0U, 10U, 60U})),
      poison_percent(chance->among({0U, 0U, 5U, 30U})),
      odd_time_percent(chance->among({0U, 10U, 40U})),
      large_percent(chance->one_in(200) ? 20 : 0),
      copy_rows_max(chance->percent(50) ? 1500 : UINT64_MAX),
      keyed_percent(chance->among({0U, 10U, 50U})),
      fault_per_mille(chance->among({0U, 10U, 30U, 100U, 100U})),
      snapshot_percent(chance->among({1U, 3U, 10U})),
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
