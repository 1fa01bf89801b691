// What Postgres has to be like for the promises to hold, looked at now and then: its settings, and
// the partitions that should be there.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/pg_connection.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// What a commit rests on. Not synchronous_commit: each batch's transaction sets that itself.
struct PgDurability {
    bool fsync = true;
    bool full_page_writes = true;
};

struct PgPartitions {
    int64_t logs = 0;  // that take records: not those that are being detached
    int64_t ledger = 0;
    bool tomorrow = false;  // whether logs has one for tomorrow, by Postgres' own clock, in UTC
};

// False if Postgres did not answer; the connection's error() says why.
[[nodiscard]] bool read_durability(PgConnection* connection, PgDurability* durability);
[[nodiscard]] bool read_partitions(PgConnection* connection, PgPartitions* partitions);

// What postgres.durability asks for.
[[nodiscard]] PgDurability required_durability(const Settings& settings);

// What of it is off, for a human: "fsync, full_page_writes".
[[nodiscard]] std::string what_is_off(const PgDurability& is, const PgDurability& required);

}  // namespace sluice
