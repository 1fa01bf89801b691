// sluiced check: Postgres.
#include <string>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/commands/check.hpp"
#include "daemon/commands/postgres_rules.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/pg_migrate.hpp"
#include "daemon/pg_partition.hpp"
#include "daemon/pg_watch.hpp"

namespace sluice {
namespace {

constexpr std::string_view kNoRight = "42501";
constexpr int64_t kDayUs = 86400LL * 1000 * 1000;

PgOptions options_of(const Settings& settings) {
    PgOptions options;
    options.login = pg_login_of(settings, PgUser::kLoader);
    options.application_name = "sluiced-check";
    options.session = "SET TimeZone = 'UTC'";
    options.timeout_ms = settings.postgres_timeout_ms;
    return options;
}

class PostgresCheck {
  public:
    PostgresCheck(const Settings& settings, Findings* findings)
        : settings_(settings), postgres_(options_of(settings)), findings_(*findings) {}

    void run();

  private:
    void add(Verdict verdict, const char* check, std::string what, std::string todo = "") {
        findings_.push_back({verdict, check, "postgres: " + std::move(what), std::move(todo)});
    }
    bool connect();
    bool check_settings();
    bool check_clock();
    bool check_schema();
    bool check_partitions();

    const Settings& settings_;
    PgConnection postgres_;
    Findings& findings_;
    int64_t now_us_ = 0;  // by Postgres' clock
    bool schema_is_current_ = false;
    bool schema_lacks_ = false;  // else, if it is not current, this role may not see it
};

void PostgresCheck::run() {
    if (!connect()) {
        return;
    }
    const bool asked =
        check_settings() && check_clock() && check_schema() &&
        (schema_lacks_ || (check_rights(&postgres_, settings_, options_of(settings_), &findings_) &&
                           (!schema_is_current_ || check_partitions())));
    if (!asked) {
        add(Verdict::kFail, "postgres_connection",
            "it could not be asked everything: " + postgres_.error().message,
            "run it again; look at Postgres' log");
    }
}

bool PostgresCheck::connect() {
    if (!postgres_.connect()) {
        add(Verdict::kFail, "postgres_connection", postgres_.error().message,
            "start Postgres; are postgres.dsn and postgres.loader_dsn right, and may this user "
            "connect"
            " (pg_hba.conf)?");
        return false;
    }
    const PgRows who = postgres_.query("SELECT current_database(), current_user");
    if (!who) {
        return true;  // the next question will say why
    }
    add(Verdict::kOk, "postgres_connection",
        "the database " + std::string(who.text(0, 0)) + " answers " + std::string(who.text(0, 1)));
    return true;
}

bool PostgresCheck::check_settings() {
    const PgRows rows =
        postgres_.query("SELECT name, setting FROM pg_settings WHERE name = ANY ($1::text[])",
                        {kPostgresSettingNames});
    const PgRows recovery = postgres_.query("SELECT pg_is_in_recovery()");
    if (!rows || !recovery) {
        return false;
    }
    PostgresSettings settings;
    for (int row = 0; row < rows.count(); ++row) {
        settings.emplace(rows.text(row, 0), rows.text(row, 1));
    }
    const bool durable = required_durability(settings_).fsync;
    for (Finding& finding : judge_postgres(settings, recovery.text(0, 0) == "t", durable)) {
        findings_.push_back(std::move(finding));
    }
    return true;
}

bool PostgresCheck::check_clock() {
    const int64_t before_us = wall_us();
    const PgRows time =
        postgres_.query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
    const int64_t after_us = wall_us();
    if (!time) {
        return false;
    }
    now_us_ = time.integer(0, 0);
    findings_.push_back(judge_clock("postgres_clock", "postgres", now_us_, before_us, after_us));
    return true;
}

bool PostgresCheck::check_schema() {
    schema_is_current_ = schema_is_current(&postgres_);
    if (schema_is_current_) {
        add(Verdict::kOk, "postgres_schema",
            "the schema is up to date (" + std::string(migrations().back().name) + ")");
    } else if (postgres_.error().failure == PgFailure::kNone) {
        schema_lacks_ = true;
        add(Verdict::kFail, "postgres_schema", "the schema lacks migrations",
            "sluiced migrate, as the role that owns the tables or shall own them");
    } else if (postgres_.error().sqlstate != kNoRight) {
        return false;
    }
    return true;  // which rights are missing is told with the others
}

bool PostgresCheck::check_partitions() {
    std::string missing;
    for (const int64_t day : {now_us_ / kDayUs, now_us_ / kDayUs + 1}) {
        const std::string name = partition_name(PartitionKind::kLogDay, day);
        const PgRows found = postgres_.query(
            "SELECT 1 FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'logs'::regclass AND NOT inhdetachpending"
            " AND relname ~ ('^' || $1 || '(_[0-9]+)?$')",
            {name.c_str()});
        if (!found) {
            return false;
        }
        missing += found.count() != 0 ? "" : (missing.empty() ? "" : ", ") + name;
    }
    if (missing.empty()) {
        add(Verdict::kOk, "postgres_partitions", "today and tomorrow have their partitions");
    } else {
        add(Verdict::kWarn, "postgres_partitions", "partitions that are not there yet: " + missing,
            "a loader that runs makes them ahead, or when a record needs one; if it does run, look"
            " at its log");
    }
    return true;
}

}  // namespace

void check_postgres(const Settings& settings, Findings* findings) {
    PostgresCheck(settings, findings).run();
}

}  // namespace sluice
