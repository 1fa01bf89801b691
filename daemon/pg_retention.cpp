#include "daemon/pg_retention.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/log.hpp"
#include "daemon/pg_partition.hpp"

namespace sluice {
namespace {

// Any number will do, as long as nothing else in the database takes the same one.
constexpr const char* kLock = "SELECT pg_try_advisory_lock(7306930287321604100)";
constexpr const char* kUnlock = "SELECT pg_advisory_unlock(7306930287321604100)";

enum class DayState : uint8_t {
    kAttached,
    kMarked,     // and attached all the same: something went wrong before it was begun
    kDetaching,  // begun, and not finished
    kDetached,
};

struct LogDay {
    std::string name;
    int64_t day;  // since 1970
    int64_t bytes;
    DayState state;

    [[nodiscard]] bool begun() const noexcept {
        return state == DayState::kDetaching || state == DayState::kDetached;
    }
};

DayState state_of(std::string_view attached, std::string_view pending, std::string_view marked) {
    if (attached != "t") {
        return DayState::kDetached;
    }
    if (pending == "t") {
        return DayState::kDetaching;
    }
    return marked == "t" ? DayState::kMarked : DayState::kAttached;
}

// What somebody else detaches, or has detached, to keep it elsewhere is none of our business: that
// lacks the mark. Those that are begun come first: Postgres detaches one at a time.
bool list_days(PgConnection* connection, std::vector<LogDay>* days) {
    const PgRows rows = connection->query(
        "SELECT name, to_date(substr(name, 6, 8), 'YYYYMMDD') - DATE '1970-01-01',"
        " pg_total_relation_size(oid), attached, pending, marked FROM ("
        "SELECT c.oid, c.relname AS name, i.inhparent IS NOT NULL AS attached,"
        " coalesce(i.inhdetachpending, false) AS pending,"
        " coalesce(obj_description(c.oid, 'pg_class') = $1, false) AS marked"
        " FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid"
        " WHERE c.relname ~ '^logs_[0-9]{8}(_[0-9]+)?$' AND c.relkind = 'r' AND c.relnamespace ="
        " (SELECT relnamespace FROM pg_class WHERE oid = 'logs'::regclass)"
        " AND (i.inhparent IS NULL OR i.inhparent = 'logs'::regclass)) AS day"
        " WHERE marked OR attached AND NOT pending"
        " ORDER BY attached AND NOT pending, NOT marked, name",
        {kDropMark});
    if (!rows) {
        return false;
    }
    for (int row = 0; row < rows.count(); ++row) {
        days->push_back({std::string(rows.text(row, 0)), rows.integer(row, 1), rows.integer(row, 2),
                         state_of(rows.text(row, 3), rows.text(row, 4), rows.text(row, 5))});
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

// Who has held a lock on the day, or on logs, for a second may go on for hours, and for so long a
// day that was begun could neither be dropped nor take records. Looked at twice, as the age of a
// transaction is not told to everybody.
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

// Unless it is begun. Left on, the mark would have a day dropped that somebody else detaches.
bool unmark(PgConnection* connection, const std::string& name) {
    return connection->execute("DO $$ BEGIN IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = '" +
                               name +
                               "'::regclass AND NOT inhdetachpending) THEN COMMENT ON TABLE " +
                               name + " IS NULL; END IF; END $$");
}

bool detach_day(PgConnection* connection, const LogDay& day) {
    const std::string detach = "ALTER TABLE logs DETACH PARTITION " + day.name;
    if (day.state == DayState::kDetached) {
        return true;
    }
    if (day.state == DayState::kDetaching) {
        return connection->execute(detach + " FINALIZE");
    }
    if (!is_free(connection, day.name) ||
        !connection->execute("COMMENT ON TABLE " + day.name + " IS '" + kDropMark + "'")) {
        return false;
    }
    if (connection->execute(detach + " CONCURRENTLY")) {
        return true;
    }
    PgError error = connection->error();
    if (connection->is_open() && !unmark(connection, day.name)) {
        log_warn("a day's mark is taken off later").with("name", day.name);
    }
    connection->set_error(std::move(error));
    return false;
}

bool drop_detached_day(PgConnection* connection, const LogDay& day) {
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
        if (day.state == DayState::kMarked && !unmark(connection, day.name)) {
            return false;
        }
        const bool old = retention.keep_days != 0 && day.day < newest - retention.keep_days;
        const bool too_much = retention.keep_bytes != 0 && total > retention.keep_bytes;
        if (!day.begun() && (day.day >= newest || (!old && !too_much))) {
            continue;
        }
        // Asked between the two as well: each may wait for as long as a statement may take.
        if (stopping()) {
            return true;
        }
        if (!detach_day(connection, day)) {
            return false;
        }
        if (stopping()) {
            return true;
        }
        if (!drop_detached_day(connection, day)) {
            return false;
        }
        total -= day.bytes;
    }
    return true;
}

bool find_begun(PgConnection* connection, bool* begun) {
    std::vector<LogDay> days;
    if (!list_days(connection, &days)) {
        return false;
    }
    *begun = !days.empty() && days.front().begun();
    return true;
}

}  // namespace

bool drop_old_logs(PgConnection* connection, const Retention& retention,
                   const std::function<bool()>& stopping, bool* begun) {
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
    if (connection->is_open() && (!find_begun(connection, begun) || !connection->query(kUnlock))) {
        return false;
    }
    connection->set_error(std::move(error));
    return done;
}

}  // namespace sluice
