// Partitions of logs (a day) and ledger (an hour), in UTC. What is done to them takes the tables'
// owner: sql/005_roles.sql has it as functions that a loader may run.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/pg_connection.hpp"

namespace sluice {

enum class PartitionKind : uint8_t { kLogDay, kLedgerHour };

// logs_20241114, ledger_2024111410; number counts days or hours since 1970. A partition whose name
// is taken is called logs_20241114_2.
[[nodiscard]] std::string partition_name(PartitionKind kind, int64_t number);

// Makes the partition unless it is there; fails for now if it is being dropped.
[[nodiscard]] bool make_partition(PgConnection* connection, PartitionKind kind, int64_t number);

// Deletes some of the keys of requests from before this hour; *more if there may be others. Keys
// are kept for 24 hours at least.
[[nodiscard]] bool prune_keys(PgConnection* connection, int64_t before_hour, bool* more);

// Drops the ledger's partitions of the hours before this one; does nothing if another loader is at
// it.
[[nodiscard]] bool prune_ledger_partitions(PgConnection* connection, int64_t before_hour);

}  // namespace sluice
