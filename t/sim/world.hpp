// Everything that a schedule moves: the clock, both servers, the edges and the loaders.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "t/sim/chance.hpp"
#include "t/sim/judge.hpp"
#include "t/sim/plan.hpp"
#include "t/sim/sim_edge.hpp"
#include "t/sim/sim_loader.hpp"
#include "t/sim/sim_postgres.hpp"
#include "t/sim/sim_redis.hpp"
#include "t/sim/trace.hpp"

namespace sluice::sim {

// A command whose client has given up waiting; Redis may come to it yet.
struct LateCommand {
    unsigned loader;
    RedisAction action;
};

struct World {
    World(uint64_t seed, bool traced);

    [[nodiscard]] int64_t wall_ms() const noexcept { return plan.start_ms + now_us / 1000; }
    [[nodiscard]] bool redis_up() const noexcept { return now_us >= redis_up_at_us; }
    [[nodiscard]] bool postgres_up() const noexcept { return now_us >= postgres_up_at_us; }

    // Redis' clock is coarse here, so that many entries share a millisecond, and ids that are
    // issued again are the same ones.
    [[nodiscard]] uint64_t redis_clock_ms() const noexcept {
        constexpr int64_t kTickMs = 50;
        return static_cast<uint64_t>((wall_ms() + redis_clock_offset_ms) / kTickMs * kTickMs);
    }

    // Of a backlog older than what the ledger keeps, some frames may be held by one loader and be
    // stored, acknowledged and pruned by another: no pruning meanwhile.
    [[nodiscard]] bool rows_are_held() const;

    Chance chance;
    int64_t now_us;
    Trace trace;
    Plan plan;
    SimEdge edge;
    Judge judge;
    SimRedis redis;
    SimPostgres postgres;
    int64_t redis_up_at_us = 0;
    int64_t postgres_up_at_us = 0;
    int64_t redis_clock_offset_ms = 0;
    bool redis_lost_state = false;
    uint64_t faults_struck = 0;
    uint64_t redis_run = 1;  // connections end with the run they were made to
    std::vector<LateCommand> late_commands;
    std::vector<SentFrame*> recently_sent;
    std::vector<std::unique_ptr<SimLoader>> loaders;
};

}  // namespace sluice::sim
