// A loader as Prometheus text: all of its consumers together, and what its keeper found.
#pragma once

#include <string>

#include "daemon/load/core.hpp"
#include "daemon/pg_watch.hpp"
#include "daemon/redis_durability.hpp"

namespace sluice {

// Sums over consumers; but what is the whole group's is what one of them knows.
struct LoadFigures {
    uint64_t consumers = 0;
    uint64_t redis_connections = 0;
    uint64_t postgres_connections = 0;
    uint64_t postgres_up = 0;
    LoadCounts counts;
    LoadHistograms histograms;
    Amount drain;
    uint64_t buffered_bytes = 0;
    bool backlog_known = false;
    uint64_t backlog_entries = 0;
    Amount backlog;
    uint64_t pending = 0;
    int64_t edges_ahead_ms = 0;
    int64_t edges_behind_ms = 0;
    uint64_t last_seen_left_out = 0;  // rows

    void add(const LoadCounts& counts, const LoadHistograms& histograms, const LoadGauges& gauges);
};

struct RedisWatchFigures {
    bool known = false;  // Redis has answered
    Durability given = Durability::kUnsafe;
    Durability required = Durability::kFsync;
};

struct KeeperFigures {
    RedisWatchFigures redis;
    bool known = false;  // a look has been answered
    PgDurability durability;
    PgDurability required;
    PgPartitions partitions;
};

// name: the loader's.
[[nodiscard]] std::string load_metrics(const std::string& name, const LoadFigures& figures,
                                       const KeeperFigures& keeper);

}  // namespace sluice
