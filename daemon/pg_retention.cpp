#include "daemon/pg_retention.hpp"

#include <charconv>
#include <string>
#include <vector>

#include "daemon/log.hpp"
#include "daemon/pg_partition.hpp"

namespace sluice {
namespace {

// Any number will do, as long as nothing else in the database takes the same one.
constexpr const char* kLock = "SELECT pg_try_advisory_lock(7306930287321604098)";
constexpr const char* kUnlock = "SELECT pg_advisory_unlock(7306930287321604098)";

// A table that somebody else has detached, to keep it elsewhere, is none of our business: only one
// with this comment is dropped.
constexpr const char* kMark = "sluice: to be dropped";

struct LogDay {
    std::string name;
    int64_t day;  // since 1970
    int64_t bytes;
    bool detaching;  // begun, and not finished
    bool detached;
};

bool list_days(PgConnection* connection, std::vector<LogDay>* days) {
    const PgRows rows = connection->query(
        "SELECT c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') - DATE '1970-01-01',"
        " pg_total_relation_size(c.oid), coalesce(i.inhdetachpending, false), i.inhrelid IS NULL"
        " FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid"
        " WHERE c.relname ~ '^logs_[0-9]{8}$' AND c.relkind = 'r' AND c.relnamespace ="
        " (SELECT relnamespace FROM pg_class WHERE oid = 'logs'::regclass)"
        " AND (i.inhparent = 'logs'::regclass OR"
        " i.inhrelid IS NULL AND obj_description(c.oid, 'pg_class') = $1)"
        " ORDER BY c.relname",
        {kMark});
    if (!rows) {
        return false;
    }
    for (int row = 0; row < rows.count(); ++row) {
        days->push_back({std::string(rows.text(row, 0)), rows.integer(row, 1), rows.integer(row, 2),
                         rows.text(row, 3) == "t", rows.text(row, 4) == "t"});
    }
    return true;
}

// The newest day that has records, unless this server's clock is behind it: neither a clock that
// has jumped ahead nor an edge's alone may empty the table. -1 if there is none.
bool find_newest_day(PgConnection* connection, int64_t* day) {
    const PgRows rows = connection->query(
        "SELECT coalesce(floor(extract(epoch FROM least(now(), max(minute))) / 86400), -1)::bigint"
        " FROM counters");
    if (!rows) {
        return false;
    }
    *day = rows.count() == 1 ? rows.integer(0, 0) : -1;
    return true;
}

bool drop_day(PgConnection* connection, const LogDay& day) {
    if (day.detaching) {
        if (!connection->execute("ALTER TABLE logs DETACH PARTITION " + day.name + " FINALIZE")) {
            return false;
        }
    } else if (!day.detached) {
        if (!connection->execute("COMMENT ON TABLE " + day.name + " IS '" + kMark + "'") ||
            !connection->execute("ALTER TABLE logs DETACH PARTITION " + day.name +
                                 " CONCURRENTLY")) {
            return false;
        }
    }
    const std::string start = "timestamptz 'epoch' + interval '1 day' * ";
    Transaction transaction(connection);
    if (!transaction.begin() ||
        !connection->execute("DELETE FROM counters WHERE minute >= " + start +
                             std::to_string(day.day) + " AND minute < " + start +
                             std::to_string(day.day + 1) + "; DROP TABLE " + day.name) ||
        !transaction.commit()) {
        return false;
    }
    log_info("a day of logs is dropped").with("name", day.name).with("bytes", day.bytes);
    return true;
}

bool drop_old_days(PgConnection* connection, const Retention& retention) {
    std::vector<LogDay> days;
    int64_t newest = -1;
    if (!list_days(connection, &days) || !find_newest_day(connection, &newest)) {
        return false;
    }
    int64_t total = 0;
    for (const LogDay& day : days) {
        total += day.bytes;
    }
    for (const LogDay& day : days) {
        const bool begun = day.detaching || day.detached;
        const bool old = retention.keep_days != 0 && day.day < newest - retention.keep_days;
        const bool too_much = retention.keep_bytes != 0 && total > retention.keep_bytes;
        if (begun || (day.day < newest && (old || too_much))) {
            if (!drop_day(connection, day)) {
                return false;
            }
            total -= day.bytes;
        }
    }
    return true;
}

}  // namespace

bool drop_old_logs(PgConnection* connection, const Retention& retention) {
    const PgRows locked = connection->query(kLock);
    if (!locked) {
        return false;
    }
    if (locked.text(0, 0) != "t") {
        return true;
    }
    const bool done = drop_old_days(connection, retention);
    const PgError error = connection->error();
    // A connection that is lost has let the lock go.
    if (connection->is_open() && !connection->query(kUnlock)) {
        return false;
    }
    connection->set_error(error);
    return done;
}

}  // namespace sluice
