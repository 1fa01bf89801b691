// Drops the oldest days of logs, by age or by size, while loaders store and others read.
//
// A day's partition is detached concurrently, which waits for who still reads it and holds up
// nobody, and dropped with the counters of its minutes. Each wait is short: what is interrupted is
// found half done, and done, the next time. Meanwhile the day can take no records, so it is not
// begun while somebody reads for long.
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
// if it could not be done now. *begun, if that could be found out: whether a day is half done, so
// that it should be called again soon.
[[nodiscard]] bool drop_old_logs(PgConnection* connection, const Retention& retention,
                                 const std::function<bool()>& stopping, bool* begun);

}  // namespace sluice
