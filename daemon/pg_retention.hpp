// Drops the oldest days of logs, by age or by size, while loaders store and others read.
//
// A day is dropped with the counters of its minutes, in one transaction. For that nobody may hold a
// lock on logs, so it is not tried while somebody reads, or writes, for long: who comes meanwhile
// waits behind it, a second at most.
#pragma once

#include <cstdint>
#include <functional>

#include "daemon/pg_connection.hpp"

namespace sluice {

struct Retention {
    int64_t keep_days = 0;   // besides the newest; 0: for ever
    int64_t keep_bytes = 0;  // of all days, indexes and all; 0: no limit. The newest always stays
};

// Does nothing if another loader is at it; ends early, between two days, if it is stopping. False
// if it could not be done now.
[[nodiscard]] bool drop_old_logs(PgConnection* connection, const Retention& retention,
                                 const std::function<bool()>& stopping);

}  // namespace sluice
