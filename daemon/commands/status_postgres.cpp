// sluiced status: what is in Postgres.
#include <string>

#include "daemon/commands/status.hpp"
#include "daemon/pg_connection.hpp"

namespace sluice {
namespace {

PgOptions options_of(const Settings& settings) {
    PgOptions options;
    options.login = pg_login_of(settings, PgUser::kLoader);
    options.application_name = "sluiced-status";
    options.session = "SET default_transaction_read_only = on; SET TimeZone = 'UTC'";
    options.timeout_ms = settings.postgres_timeout_ms;
    return options;
}

bool ask_stored(PgConnection* postgres, PostgresStatusReport* report) {
    const PgRows rows = postgres->query(
        "SELECT (SELECT coalesce(sum(n), 0) FROM counters"
        "  WHERE minute >= now() - interval '1 hour')::bigint,"
        " (extract(epoch FROM now() - (SELECT max(t) FROM ledger)) * 1000)::bigint,"
        " (SELECT max(t) FROM ledger) IS NULL");
    if (!rows) {
        return false;
    }
    report->last_hour_records = static_cast<uint64_t>(rows.integer(0, 0));
    if (rows.text(0, 2) != "t") {
        report->newest_age_s = static_cast<double>(rows.integer(0, 1)) / 1e3;
    }
    return true;
}

bool ask_dead_letters(PgConnection* postgres, PostgresStatusReport* report) {
    const PgRows rows = postgres->query(
        "SELECT count(*), coalesce(to_char(max(created_at), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '')"
        " FROM dead_letters");
    if (!rows) {
        return false;
    }
    report->dead_letters = static_cast<uint64_t>(rows.integer(0, 0));
    report->newest_dead_letter = std::string(rows.text(0, 1));
    return true;
}

// Not of those that are being dropped: their size may wait for a lock.
bool ask_partitions(PgConnection* postgres, PostgresStatusReport* report) {
    const PgRows rows = postgres->query(
        "SELECT relname, inhparent = 'logs'::regclass, "
        "coalesce(pg_total_relation_size(pg_class.oid), 0)"
        " FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent IN ('logs'::regclass, 'ledger'::regclass) AND NOT inhdetachpending"
        " AND relkind = 'r' ORDER BY relname DESC");
    if (!rows) {
        return false;
    }
    for (int row = 0; row < rows.count(); ++row) {
        const auto bytes = static_cast<uint64_t>(rows.integer(row, 2));
        if (rows.text(row, 1) == "t") {
            report->logs.push_back({std::string(rows.text(row, 0)), bytes});
        } else {
            ++report->ledger_partitions;
            report->ledger_bytes += bytes;
        }
    }
    return true;
}

}  // namespace

void ask_postgres_status(const Settings& settings, PostgresStatusReport* report) {
    PgConnection postgres(options_of(settings));
    if (!postgres.connect() || !ask_stored(&postgres, report) ||
        !ask_dead_letters(&postgres, report) || !ask_partitions(&postgres, report)) {
        report->error = postgres.error().message;
    }
}

}  // namespace sluice
