// sluiced load | serve | migrate: the daemons, and what prepares the database for them.
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "daemon/commands/commands.hpp"
#include "daemon/load/loader.hpp"
#include "daemon/log.hpp"
#include "daemon/pg_migrate.hpp"
#include "daemon/process.hpp"
#include "daemon/serve/server.hpp"
#include "daemon/service.hpp"

namespace sluice {
namespace {

constexpr Option kPidFile = {"--pid-file", true};
// Of a migration: an index of many rows takes its time.
constexpr int64_t kMigrateTimeoutMs = 24LL * 3600 * 1000;
constexpr std::string_view kNoRight = "42501";
// A table, or a type.
constexpr std::string_view kThereAlready[] = {"42P07", "42710"};

// run_loader or run_server, with what both need.
int run_daemon(const Arguments& arguments, std::vector<std::string> sections,
               int (*run)(Service*)) {
    set_log(LogLevel::kInfo, LogFormat::kAuto);
    Service service([&arguments] { return settings_of(arguments); }, std::move(sections));
    PidFile pid_file;
    std::string error;
    if (!pid_file.create(arguments.value(kPidFile.name), &error)) {
        log_error(error);
        return kExitFailed;
    }
    return run(&service);
}

int run_load(const Arguments& arguments) {
    return run_daemon(arguments, {"redis", "postgres", "load", "storage", "log"}, run_loader);
}

int run_serve(const Arguments& arguments) {
    return run_daemon(arguments, {"redis", "postgres", "serve", "log"}, run_server);
}

std::string todo_without_right(PgConnection* connection) {
    const PgRows owner = connection->query(
        "SELECT coalesce((SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class"
        " WHERE oid = to_regclass('logs')), '')");
    const std::string name(owner ? owner.text(0, 0) : "");
    return name.empty() ? "run conf/roles.sql as a superuser, or GRANT CREATE ON SCHEMA public to"
                          " this role"
                        : "migrate as " + name +
                              ", who owns the tables, or hand them over by running conf/roles.sql"
                              " as a superuser";
}

// All goes on without them, but by one role that may do everything.
void tell_missing(const std::vector<std::string>& roles) {
    std::string statements;
    for (const std::string& role : roles) {
        statements += "CREATE ROLE " + role + " LOGIN; ";
    }
    log_warn("roles with few rights are missing, and this one may not make any")
        .with("todo", statements + "as one who may, then sluiced migrate again");
}

int run_migrate(const Arguments& arguments) {
    const Settings settings = settings_of(arguments);
    PgOptions options;
    options.login = pg_login_of(settings, PgUser::kMigrator);
    options.application_name = "sluiced-migrate";
    options.timeout_ms = kMigrateTimeoutMs;
    PgConnection connection(std::move(options));
    std::vector<std::string> roles_missing;
    if (!connection.connect() || !migrate(&connection, &roles_missing)) {
        const PgError error = connection.error();
        LogLine line = log_error("migrating failed");
        line.with("sqlstate", error.sqlstate).with("error", error.message);
        if (error.sqlstate == kNoRight) {
            line.with("todo", todo_without_right(&connection));
        } else if (std::find(std::begin(kThereAlready), std::end(kThereAlready), error.sqlstate) !=
                   std::end(kThereAlready)) {
            line.with("todo",
                      "is that of another system? Give Sluice a database of its own in"
                      " postgres.dsn; sluiced import takes over the logs of the other one");
        }
        return kExitFailed;
    }
    if (!roles_missing.empty()) {
        tell_missing(roles_missing);
    }
    log_info("the schema is up to date");
    return kExitGood;
}

}  // namespace

const Command& load_command() {
    static const Command command = {"load",
                                    "moves frames from the stream into Postgres, exactly once",
                                    R"(usage: sluiced load [--config FILE] [--pid-file FILE]

Reads frames from the Redis Stream and stores them in Postgres, each exactly once, until it is
told to stop. It waits for Redis and Postgres where they are away, so the order in which things are
started does not matter; the database must be migrated. It logs to stderr.

SIGTERM: what was read is stored, for 8 seconds at most, then it ends; a second SIGTERM ends it at
once, and nothing is lost. SIGHUP: reads its settings anew, takes over what can be changed while it
runs, and says what needs a restart.

  --config FILE     settings; without it those of the environment, and the defaults
  --pid-file FILE   holds the process id while it runs; a second one does not start

example:
  sluiced load --config /etc/sluice/sluiced.toml

exit: 0 stopped when told to, 1 failed, or could not finish, 2 wrong usage or settings
)",
                                    {kPidFile},
                                    false,
                                    run_load};
    return command;
}

const Command& serve_command() {
    static const Command command = {"serve",
                                    "answers queries over HTTP",
                                    R"(usage: sluiced serve [--config FILE] [--pid-file FILE]

Answers queries for logs at serve.listen; nginx stands before it and caches. A process of its own,
so that queries cannot hurt the loader. It logs to stderr.

SIGTERM: answers what was asked, for 8 seconds at most, then ends; a second SIGTERM ends it at once.
SIGHUP: reads its settings anew, takes over what can be changed while it runs, and says what needs
a restart. A socket that systemd hands over (LISTEN_FDS) is used in place of serve.listen.

  --config FILE     settings; without it those of the environment, and the defaults
  --pid-file FILE   holds the process id while it runs; a second one does not start

example:
  SLUICED_SERVE_LISTEN=127.0.0.1:18724 sluiced serve
  curl http://127.0.0.1:18724/api/logs/pump-7

exit: 0 stopped when told to, 1 failed, or could not finish, 2 wrong usage or settings
)",
                                    {kPidFile},
                                    false,
                                    run_serve};
    return command;
}

const Command& migrate_command() {
    static const Command command = {"migrate",
                                    "brings the database's schema up to date, and ends",
                                    R"(usage: sluiced migrate [--config FILE]

Makes the tables, or changes them to what this sluiced needs, each step in a transaction; does
nothing if all is done. The database itself must be there. What runs goes on running meanwhile.

  --config FILE     settings; without it those of the environment, and the defaults

example:
  createdb -E UTF8 -T template0 sluice
  SLUICED_POSTGRES_DSN='host=/run/postgresql dbname=sluice' sluiced migrate

exit: 0 up to date, 1 failed, 2 wrong usage or settings
)",
                                    {},
                                    false,
                                    run_migrate};
    return command;
}

Settings settings_of(const Arguments& arguments) {
    const std::string file = arguments.value("--config");
    if (file.empty() && arguments.has("--config")) {
        throw UsageError("--config names no file");
    }
    return load_settings(file, environ);
}

}  // namespace sluice
