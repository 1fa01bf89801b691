#include "daemon/pg_partition.hpp"

#include <ctime>
#include <set>
#include <string_view>

#include "common/timestamp.hpp"
#include "daemon/log.hpp"

namespace sluice {
namespace {

// Any number will do, as long as nothing else in the database takes the same one.
constexpr const char* kPruneLock = "SELECT pg_try_advisory_xact_lock(7306930287321604099)";
constexpr const char* kPartitionLock = "SELECT pg_advisory_xact_lock(7306930287321604097)";

// Rows are only ever added. After a million of them the visibility map is brought up to date, and
// they are frozen at once, for they will not change: the defaults are a storm in a large table now,
// and one in all tables when transaction ids run out.
constexpr const char* kStorage =
    "autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000,"
    " autovacuum_freeze_min_age = 0,"
    " autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000";

// A piece takes a fifth of a second, so that batches need not wait long.
constexpr uint64_t kKeysPerPiece = 20000;

constexpr int64_t seconds_of(PartitionKind kind) noexcept {
    return kind == PartitionKind::kLogDay ? 86400 : 3600;
}

std::string quoted_time(int64_t epoch_s) {
    char text[kTimestampBytes + 1];
    char* end = format_timestamp(epoch_s * 1000000, text);
    return "'" + std::string(text, end) + "'";
}

}  // namespace

std::string partition_name(PartitionKind kind, int64_t number) {
    const time_t start = static_cast<time_t>(number * seconds_of(kind));
    tm parts{};
    gmtime_r(&start, &parts);
    char text[32];
    const bool is_day = kind == PartitionKind::kLogDay;
    strftime(text, sizeof text, is_day ? "logs_%Y%m%d" : "ledger_%Y%m%d%H", &parts);
    return text;
}

namespace {

bool refuse(PgConnection* connection, std::string_view name, const char* why) {
    connection->set_error({PgFailure::kTransient, "", std::string(name) + why, 0});
    return false;
}

// *there if the partition is attached. If not, *name becomes one that is free: a table that
// somebody has detached, to keep it elsewhere, may have the first one still. A day that is being
// dropped is an error: it has to be gone before it can be made again.
bool find_free_name(PgConnection* connection, const std::string& parent, std::string* name,
                    bool* there) {
    const PgRows taken = connection->query(
        "SELECT c.relname, i.inhrelid IS NOT NULL, coalesce(i.inhdetachpending, false),"
        " i.inhrelid IS NULL AND coalesce(obj_description(c.oid, 'pg_class') = $3, false)"
        " FROM pg_class c LEFT JOIN pg_inherits i"
        " ON i.inhrelid = c.oid AND i.inhparent = $1::regclass"
        " WHERE c.relname ~ ('^' || $2 || '(_[0-9]+)?$') AND c.relnamespace ="
        " (SELECT relnamespace FROM pg_class WHERE oid = $1::regclass)",
        {parent.c_str(), name->c_str(), kDropMark});
    if (!taken) {
        return false;
    }
    std::set<std::string_view> names;
    for (int row = 0; row < taken.count(); ++row) {
        if (taken.text(row, 2) == "t") {
            return refuse(connection, taken.text(row, 0), " is being detached");
        }
        if (taken.text(row, 3) == "t") {
            return refuse(connection, taken.text(row, 0), " is being dropped");
        }
        *there = *there || taken.text(row, 1) == "t";
        names.insert(taken.text(row, 0));
    }
    const std::string first = *name;
    for (int number = 2; names.count(*name) != 0; ++number) {
        *name = first + "_" + std::to_string(number);
    }
    return true;
}

}  // namespace

bool make_partition(PgConnection* connection, PartitionKind kind, int64_t number) {
    const std::string parent = kind == PartitionKind::kLogDay ? "logs" : "ledger";
    const std::string column = kind == PartitionKind::kLogDay ? "created_at" : "t";
    std::string name = partition_name(kind, number);
    const std::string from = quoted_time(number * seconds_of(kind));
    const std::string to = quoted_time((number + 1) * seconds_of(kind));

    Transaction transaction(connection);
    if (!transaction.begin() ||
        !connection->execute(std::string("SET LOCAL lock_timeout = '2s'; ") + kPartitionLock)) {
        return false;
    }
    bool there = false;
    if (!find_free_name(connection, parent, &name, &there)) {
        return false;
    }
    if (there) {
        return transaction.commit();
    }
    // The check spares ATTACH a scan; attached, the bounds say the same.
    if (!connection->execute(
            "CREATE TABLE " + name + " (LIKE " + parent +
            " INCLUDING DEFAULTS INCLUDING CONSTRAINTS, CONSTRAINT bounds CHECK (" + column +
            " >= " + from + " AND " + column + " < " + to + ")) WITH (" + kStorage +
            "); ALTER TABLE " + parent + " ATTACH PARTITION " + name + " FOR VALUES FROM (" + from +
            ") TO (" + to + "); ALTER TABLE " + name + " DROP CONSTRAINT bounds") ||
        !transaction.commit()) {
        return false;
    }
    log_info("partition made").with("name", name);
    return true;
}

bool prune_keys(PgConnection* connection, int64_t before_hour, bool* more) {
    // Rows that somebody holds are left for another time: no loader waits for another one here.
    const std::string sql =
        "DELETE FROM idempotency WHERE ctid = ANY (ARRAY("
        "SELECT ctid FROM idempotency WHERE t < least(" +
        quoted_time(before_hour * 3600) + "::timestamptz, now() - interval '24 hours') LIMIT " +
        std::to_string(kKeysPerPiece) + " FOR UPDATE SKIP LOCKED))";
    const PgRows deleted = connection->query(sql.c_str());
    *more = deleted && deleted.affected() == kKeysPerPiece;
    return static_cast<bool>(deleted);
}

bool prune_ledger_partitions(PgConnection* connection, int64_t before_hour) {
    const std::string bound = partition_name(PartitionKind::kLedgerHour, before_hour);
    Transaction transaction(connection);
    if (!transaction.begin() || !connection->execute("SET LOCAL lock_timeout = '2s'")) {
        return false;
    }
    const PgRows locked = connection->query(kPruneLock);
    if (!locked) {
        return false;
    }
    if (locked.text(0, 0) != "t") {
        return transaction.commit();
    }
    // Names sort as their times do.
    const PgRows old = connection->query(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'ledger'::regclass AND relname ~ '^ledger_[0-9]{10}(_[0-9]+)?$'"
        " AND relname < $1 ORDER BY relname",
        {bound.c_str()});
    if (!old) {
        return false;
    }
    for (int row = 0; row < old.count(); ++row) {
        if (!connection->execute("DROP TABLE " + std::string(old.text(row, 0)))) {
            return false;
        }
    }
    if (!transaction.commit()) {
        return false;
    }
    if (old.count() != 0) {
        log_info("ledger pruned").with("partitions", old.count()).with("before", bound);
    }
    return true;
}

}  // namespace sluice
