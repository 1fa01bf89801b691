#include "daemon/pg_retention.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/log.hpp"
#include "daemon/pg_devices.hpp"

namespace sluice {
namespace {

// Any number will do, as long as nothing else in the database takes the same one.
constexpr const char* kLock = "SELECT pg_try_advisory_lock(7306930287321604100)";
constexpr const char* kUnlock = "SELECT pg_advisory_unlock(7306930287321604100)";

struct LogDay {
    std::string name;
    int64_t day;  // since 1970
    int64_t bytes;
    bool begun;  // to be dropped, by a version that did it in steps
};

// What somebody else detaches, or has detached, to keep it elsewhere is none of our business: that
// lacks the mark.
bool list_days(PgConnection* connection, std::vector<LogDay>* days) {
    const PgRows rows = connection->query(
        "SELECT name, to_date(substr(name, 6, 8), 'YYYYMMDD') - DATE '1970-01-01',"
        " pg_total_relation_size(oid), NOT attached FROM ("
        "SELECT c.oid, c.relname AS name, coalesce(NOT i.inhdetachpending, false) AS attached,"
        " coalesce(obj_description(c.oid, 'pg_class') = 'sluice: to be dropped', false) AS marked"
        " FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid"
        " WHERE c.relname ~ '^logs_[0-9]{8}(_[0-9]+)?$' AND c.relkind = 'r' AND c.relnamespace ="
        " (SELECT relnamespace FROM pg_class WHERE oid = 'logs'::regclass)"
        " AND (i.inhparent IS NULL OR i.inhparent = 'logs'::regclass)) AS day"
        " WHERE attached OR marked ORDER BY attached, name");
    if (!rows) {
        return false;
    }
    for (int row = 0; row < rows.count(); ++row) {
        days->push_back({std::string(rows.text(row, 0)), rows.integer(row, 1), rows.integer(row, 2),
                         rows.text(row, 3) == "t"});
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

// Who has held a lock on the day, or on logs, for a second may go on for hours. Looked at twice, as
// the age of a transaction is not told to everybody.
bool is_free(PgConnection* connection, const std::string& name) {
    const std::string holders =
        " FROM pg_locks WHERE locktype = 'relation' AND granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND relation IN ('logs'::regclass, $1::regclass)"
        " AND pid IS DISTINCT FROM pg_backend_pid()";
    const PgRows first = connection->query(
        ("SELECT coalesce(array_agg(virtualtransaction), '{}')" + holders).c_str(), {name.c_str()});
    if (!first) {
        return false;
    }
    const std::string seen(first.text(0, 0));
    if (seen == "{}") {
        return true;
    }
    if (!connection->execute("SELECT pg_sleep(1)")) {
        return false;
    }
    const PgRows again = connection->query(
        ("SELECT 1" + holders + " AND virtualtransaction = ANY ($2::text[])").c_str(),
        {name.c_str(), seen.c_str()});
    if (again && again.count() != 0) {
        connection->set_error({PgFailure::kTransient, "", "a transaction holds " + name, 0});
    }
    return again && again.count() == 0;
}

bool drop_day(PgConnection* connection, const LogDay& day) {
    if (!is_free(connection, day.name) ||
        !connection->query("SELECT sluice_drop_day($1)", {day.name.c_str()})) {
        return false;
    }
    log_info("a day of logs is dropped").with("name", day.name).with("bytes", day.bytes);
    return true;
}

bool drop_old_days(PgConnection* connection, const Retention& retention,
                   const std::function<bool()>& stopping) {
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
        const bool old = retention.keep_days != 0 && day.day < newest - retention.keep_days;
        const bool too_much = retention.keep_bytes != 0 && total > retention.keep_bytes;
        if (!day.begun && (day.day >= newest || (!old && !too_much))) {
            continue;
        }
        if (stopping()) {
            return true;
        }
        if (!drop_day(connection, day)) {
            return false;
        }
        total -= day.bytes;
    }
    return forget_devices(connection);
}

}  // namespace

bool drop_old_logs(PgConnection* connection, const Retention& retention,
                   const std::function<bool()>& stopping) {
    const PgRows locked = connection->query(kLock);
    if (!locked) {
        return false;
    }
    if (locked.text(0, 0) != "t") {
        return true;
    }
    const bool done = drop_old_days(connection, retention, stopping);
    PgError error = connection->error();
    // A connection that is lost has let the lock go.
    if (connection->is_open() && !connection->query(kUnlock)) {
        return false;
    }
    connection->set_error(std::move(error));
    return done;
}

}  // namespace sluice
