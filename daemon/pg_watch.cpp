#include "daemon/pg_watch.hpp"

namespace sluice {

bool read_durability(PgConnection* connection, PgDurability* durability) {
    const PgRows rows = connection->query(
        "SELECT current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on'");
    if (!rows) {
        return false;
    }
    durability->fsync = rows.text(0, 0) == "t";
    durability->full_page_writes = rows.text(0, 1) == "t";
    return true;
}

bool read_partitions(PgConnection* connection, PgPartitions* partitions) {
    const PgRows rows = connection->query(
        "SELECT count(*) FILTER (WHERE inhparent = 'logs'::regclass),"
        " count(*) FILTER (WHERE inhparent = 'ledger'::regclass),"
        " coalesce(bool_or(inhparent = 'logs'::regclass AND relname ~ ('^logs_' ||"
        " to_char((now() AT TIME ZONE 'UTC') + interval '1 day', 'YYYYMMDD') || '(_[0-9]+)?$')),"
        " false)"
        " FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent IN ('logs'::regclass, 'ledger'::regclass) AND relkind = 'r'"
        " AND NOT inhdetachpending");
    if (!rows) {
        return false;
    }
    partitions->logs = rows.integer(0, 0);
    partitions->ledger = rows.integer(0, 1);
    partitions->tomorrow = rows.text(0, 2) == "t";
    return true;
}

PgDurability required_durability(const Settings& settings) {
    const bool all = settings.postgres_durability == "fsync";
    return {all, all};
}

std::string what_is_off(const PgDurability& is, const PgDurability& required) {
    std::string text = is.fsync || !required.fsync ? "" : "fsync";
    if (!is.full_page_writes && required.full_page_writes) {
        text.append(text.empty() ? "" : ", ").append("full_page_writes");
    }
    return text;
}

}  // namespace sluice
