#include "daemon/pg_rights.hpp"

#include "daemon/log.hpp"

namespace sluice {
namespace {

struct Right {
    PgUser user;
    const char* privilege;
    const char* kind;
    const char* object;
};

// All that a loader does: it adds rows and counts, and can change or remove nothing but counts and
// last-seen times; the rest is in functions (sql/005_roles.sql, sql/006_queries.sql). A reader sees
// what the API serves.
constexpr Right kRights[] = {
    {PgUser::kLoader, "SELECT", "TABLE", "schema_migrations"},
    {PgUser::kLoader, "INSERT", "TABLE", "logs"},
    {PgUser::kLoader, "SELECT", "TABLE", "ledger"},
    {PgUser::kLoader, "INSERT", "TABLE", "ledger"},
    {PgUser::kLoader, "SELECT", "TABLE", "idempotency"},
    {PgUser::kLoader, "INSERT", "TABLE", "idempotency"},
    {PgUser::kLoader, "SELECT", "TABLE", "counters"},
    {PgUser::kLoader, "INSERT", "TABLE", "counters"},
    {PgUser::kLoader, "UPDATE", "TABLE", "counters"},
    {PgUser::kLoader, "SELECT", "TABLE", "dead_letters"},
    {PgUser::kLoader, "INSERT", "TABLE", "dead_letters"},
    {PgUser::kLoader, "SELECT", "TABLE", "devices"},
    {PgUser::kLoader, "INSERT", "TABLE", "devices"},
    {PgUser::kLoader, "UPDATE", "TABLE", "devices"},
    {PgUser::kLoader, "USAGE", "SEQUENCE", "log_id_blocks"},
    {PgUser::kLoader, "EXECUTE", "FUNCTION", "sluice_make_partition(text, bigint)"},
    {PgUser::kLoader, "EXECUTE", "FUNCTION", "sluice_drop_day(text)"},
    {PgUser::kLoader, "EXECUTE", "FUNCTION", "sluice_forget_frames(bigint)"},
    {PgUser::kLoader, "EXECUTE", "FUNCTION", "sluice_forget_keys(bigint, integer)"},
    {PgUser::kLoader, "EXECUTE", "FUNCTION", "sluice_forget_devices()"},
    {PgUser::kReader, "SELECT", "TABLE", "logs"},
    {PgUser::kReader, "SELECT", "TABLE", "counters"},
    {PgUser::kReader, "SELECT", "TABLE", "counters_hour"},
    {PgUser::kReader, "SELECT", "TABLE", "counters_day"},
    {PgUser::kReader, "SELECT", "TABLE", "devices"},
};

const char* role_of(PgUser user) noexcept {
    return user == PgUser::kReader ? "sluice_reader" : "sluice_loader";
}

// As a table in FROM: "r (privilege, kind, object)".
std::string rights_of(PgUser user) {
    std::string values = "(VALUES ('USAGE', 'SCHEMA', current_schema()::text)";
    for (const Right& right : kRights) {
        if (right.user == user) {
            values.append(", ('").append(right.privilege).append("', '").append(right.kind);
            values.append("', '").append(right.object).append("')");
        }
    }
    return values + ") AS r (privilege, kind, object)";
}

bool find_missing(PgConnection* connection, PgUser user, const std::string& role,
                  std::vector<std::string>* missing) {
    const std::string sql =
        "SELECT privilege || ' ON ' || kind || ' ' || object FROM " + rights_of(user) +
        " WHERE NOT CASE kind WHEN 'TABLE' THEN has_table_privilege($1, object, privilege)"
        " WHEN 'SEQUENCE' THEN has_sequence_privilege($1, object, privilege)"
        " WHEN 'FUNCTION' THEN has_function_privilege($1, object, privilege)"
        " ELSE has_schema_privilege($1, object, privilege) END";
    const PgRows rows = connection->query(sql.c_str(), {role.c_str()});
    for (int row = 0; rows && row < rows.count(); ++row) {
        missing->emplace_back(rows.text(row, 0));
    }
    return static_cast<bool>(rows);
}

// Those of Sluice's relations that the role may do something with that it need not, each with the
// privilege; partitions under their parent's name.
bool find_excess_on_tables(PgConnection* connection, PgUser user,
                           std::vector<std::string>* excess) {
    const std::string sql =
        "SELECT DISTINCT privilege || ' on ' || CASE WHEN inhparent IS NULL THEN relname::text"
        "  ELSE 'partitions of ' || inhparent::regclass END AS what"
        " FROM pg_class c LEFT JOIN pg_inherits ON inhrelid = c.oid, unnest(CASE relkind"
        "  WHEN 'S' THEN '{USAGE,UPDATE}'::text[]"
        "  ELSE '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}' END) AS privilege"
        " WHERE relkind IN ('r', 'p', 'v', 'm', 'S') AND (relnamespace, relowner) ="
        "  (SELECT relnamespace, relowner FROM pg_class WHERE oid = 'logs'::regclass)"
        " AND CASE WHEN relkind = 'S' THEN has_sequence_privilege(c.oid, privilege)"
        "  WHEN privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')"
        "   THEN has_any_column_privilege(c.oid, privilege)"
        "  ELSE has_table_privilege(c.oid, privilege) END"
        " AND NOT EXISTS (SELECT FROM " +
        rights_of(user) +
        "  WHERE object = relname AND r.privilege = privilege.privilege) ORDER BY what";
    const PgRows rows = connection->query(sql.c_str());
    for (int row = 0; rows && row < rows.count(); ++row) {
        excess->emplace_back(rows.text(row, 0));
    }
    return static_cast<bool>(rows);
}

// What is not about Sluice's tables. Postgres lets everybody have some of it.
bool find_excess_elsewhere(PgConnection* connection, PgUser user,
                           std::vector<std::string>* excess) {
    const std::string sql =
        "SELECT what FROM pg_roles, LATERAL (VALUES (rolcreaterole, 'to create roles'),"
        "  (rolcreatedb, 'to create databases'), (rolreplication, 'to replicate'),"
        "  (rolbypassrls, 'to bypass row security'),"
        "  (has_schema_privilege(current_schema(), 'CREATE'), 'CREATE on schema ' ||"
        "   current_schema()),"
        "  (has_database_privilege(current_database(), 'CREATE'), 'CREATE on the database'),"
        "  (has_database_privilege(current_database(), 'TEMPORARY'), 'TEMPORARY on the database'),"
        "  (has_function_privilege('lo_creat(integer)', 'EXECUTE')"
        "   OR has_function_privilege('lo_create(oid)', 'EXECUTE')"
        "   OR has_function_privilege('lo_from_bytea(oid, bytea)', 'EXECUTE'),"
        "   'to create large objects')) AS may (so, what) WHERE rolname = current_user AND so"
        " UNION ALL SELECT 'to be ' || rolname FROM pg_roles"
        " WHERE rolname <> current_user AND pg_has_role(oid, 'MEMBER')"
        " UNION ALL SELECT 'EXECUTE on ' || proname FROM pg_proc WHERE proname LIKE 'sluice\\_%'"
        " AND pronamespace = current_schema()::regnamespace"
        " AND has_function_privilege(oid, 'EXECUTE') AND NOT EXISTS (SELECT FROM " +
        rights_of(user) +
        "  WHERE CASE kind WHEN 'FUNCTION' THEN object::regprocedure = pg_proc.oid END)";
    const PgRows rows = connection->query(sql.c_str());
    for (int row = 0; rows && row < rows.count(); ++row) {
        excess->emplace_back(rows.text(row, 0));
    }
    return static_cast<bool>(rows);
}

bool make_role(PgConnection* connection, const std::string& role,
               std::vector<std::string>* missing) {
    const PgRows rows = connection->query(
        "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        " AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)",
        {role.c_str()});
    if (!rows || rows.count() == 0) {
        return static_cast<bool>(rows);
    }
    if (rows.text(0, 0) != "t") {
        missing->push_back(role);
        return true;
    }
    log_info("role made").with("name", role);
    return connection->execute("CREATE ROLE " + role);
}

bool grant(PgConnection* connection, PgUser user) {
    const std::string role = role_of(user);
    std::vector<std::string> rights;
    if (!find_missing(connection, user, role, &rights)) {
        return false;
    }
    for (const std::string& right : rights) {
        if (!connection->execute("GRANT " + right + " TO " + role)) {
            return false;
        }
    }
    if (!rights.empty()) {
        log_info("rights granted").with("role", role).with("rights", rights.size());
    }
    return true;
}

}  // namespace

bool grant_rights(PgConnection* connection, std::vector<std::string>* missing) {
    for (const PgUser user : {PgUser::kLoader, PgUser::kReader}) {
        const size_t missing_before = missing->size();
        if (!make_role(connection, role_of(user), missing) ||
            (missing->size() == missing_before && !grant(connection, user))) {
            return false;
        }
    }
    return true;
}

bool judge_rights(PgConnection* connection, PgUser user, RightsJudgement* judgement) {
    const PgRows who = connection->query(
        "SELECT quote_ident(rolname), rolname, rolsuper, coalesce(pg_has_role((SELECT relowner"
        " FROM pg_class WHERE oid = to_regclass('logs')), 'USAGE'), false),"
        " (SELECT quote_ident(nspname) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
        "  WHERE relname = 'logs' AND relkind = 'p' AND to_regclass('logs') IS NULL LIMIT 1)"
        " FROM pg_roles WHERE rolname = current_user");
    if (!who) {
        return false;
    }
    judgement->role = std::string(who.text(0, 0));
    if (!who.text(0, 4).empty()) {
        judgement->missing = {"USAGE ON SCHEMA " + std::string(who.text(0, 4))};
        return true;  // and nothing in it can be asked about
    }
    judgement->owns = who.text(0, 2) == "t" || who.text(0, 3) == "t";
    if (!find_missing(connection, user, std::string(who.text(0, 1)), &judgement->missing)) {
        return false;
    }
    if (judgement->owns) {
        judgement->excess = {who.text(0, 2) == "t" ? "to do everything: it is a superuser"
                                                   : "to do everything: it owns the tables"};
        return true;
    }
    return find_excess_on_tables(connection, user, &judgement->excess) &&
           find_excess_elsewhere(connection, user, &judgement->excess);
}

}  // namespace sluice
