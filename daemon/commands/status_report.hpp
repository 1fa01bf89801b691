// What sluiced status has found out, and how it is told.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/load/backlog.hpp"
#include "daemon/redis_durability.hpp"

namespace sluice {

// What could not be found out is missing.
struct RedisStatusReport {
    std::string error;  // why it could not be asked; the rest is missing then
    std::optional<Durability> durability;
    std::optional<uint64_t> used_bytes;
    uint64_t bytes_max = 0;  // 0: no limit

    bool loader_tells = false;  // one that lives
    bool postgres_up = false;   // as it tells
    Amount drain;               // a second, while there is something to store

    std::optional<uint64_t> backlog_entries;
    Amount backlog;
    std::optional<double> oldest_age_s;  // of what waits; none if nothing does
    std::optional<Amount> intake;        // a second, now
    uint64_t intake_entries = 0;         // the same, as entries
};

struct PartitionStatus {
    std::string name;
    uint64_t bytes;
};

struct PostgresStatusReport {
    std::string error;
    uint64_t last_hour_records = 0;  // received then, and stored
    std::optional<double> newest_age_s;
    uint64_t dead_letters = 0;
    std::string newest_dead_letter;     // its time
    std::vector<PartitionStatus> logs;  // newest first
    uint64_t ledger_partitions = 0;
    uint64_t ledger_bytes = 0;
};

struct StatusReport {
    RedisStatusReport redis;
    PostgresStatusReport postgres;

    [[nodiscard]] bool good() const {
        return redis.error.empty() && postgres.error.empty() && redis.loader_tells &&
               redis.postgres_up;
    }
};

// For how long Redis can take in what comes now if nothing is stored; none if it has no limit, or
// if nothing comes.
[[nodiscard]] std::optional<double> hold_seconds(const RedisStatusReport& redis);
// In how long nothing waits any more, as it goes now; none if it does not become less.
[[nodiscard]] std::optional<double> drain_seconds(const RedisStatusReport& redis);

[[nodiscard]] std::string status_text(const StatusReport& report);
[[nodiscard]] std::string status_json(const StatusReport& report);

}  // namespace sluice
