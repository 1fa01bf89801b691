#include "daemon/pg_migrate.hpp"

#include "daemon/log.hpp"
#include "daemon/pg_rights.hpp"

namespace sluice {
namespace {

constexpr const char* kMigrationLock = "SELECT pg_advisory_xact_lock(7306930287321604098)";

bool begin_locked(PgConnection* connection, Transaction* transaction) {
    return transaction->begin() && connection->execute(kMigrationLock);
}

bool make_version_table(PgConnection* connection) {
    Transaction transaction(connection);
    return begin_locked(connection, &transaction) &&
           connection->execute(
               "CREATE TABLE IF NOT EXISTS schema_migrations ("
               " version integer PRIMARY KEY, name text NOT NULL,"
               " applied_at timestamptz NOT NULL DEFAULT now())") &&
           transaction.commit();
}

bool apply(PgConnection* connection, const Migration& migration) {
    const std::string version = std::to_string(migration.version);
    const std::string name(migration.name);
    Transaction transaction(connection);
    if (!begin_locked(connection, &transaction)) {
        return false;
    }
    const PgRows applied =
        connection->query("SELECT 1 FROM schema_migrations WHERE version = $1", {version.c_str()});
    if (!applied) {
        return false;
    }
    if (applied.count() != 0) {
        return transaction.commit();
    }
    if (!connection->execute(std::string(migration.sql)) ||
        !connection->query("INSERT INTO schema_migrations (version, name) VALUES ($1, $2)",
                           {version.c_str(), name.c_str()}) ||
        !transaction.commit()) {
        return false;
    }
    log_info("migration applied").with("name", name);
    return true;
}

}  // namespace

bool migrate(PgConnection* connection, std::vector<std::string>* roles_missing) {
    if (!make_version_table(connection)) {
        return false;
    }
    for (const Migration& migration : migrations()) {
        if (!apply(connection, migration)) {
            return false;
        }
    }
    Transaction transaction(connection);
    return begin_locked(connection, &transaction) && grant_rights(connection, roles_missing) &&
           transaction.commit();
}

bool schema_is_current(PgConnection* connection) {
    // One query that works without the table as well: a missing table is no error here.
    const PgRows exists = connection->query(
        "SELECT to_regclass('schema_migrations') IS NOT NULL, EXISTS (SELECT FROM pg_class"
        " WHERE relname = 'schema_migrations' AND NOT has_schema_privilege(relnamespace, "
        "'USAGE'))");
    if (!exists || exists.text(0, 0) != "t") {
        if (exists && exists.text(0, 1) == "t") {
            connection->set_error(
                {PgFailure::kRefused, "42501", "permission denied for the tables' schema", 0});
        }
        return false;
    }
    const std::string newest = std::to_string(migrations().back().version);
    const PgRows applied =
        connection->query("SELECT 1 FROM schema_migrations WHERE version = $1", {newest.c_str()});
    return applied && applied.count() != 0;
}

}  // namespace sluice
