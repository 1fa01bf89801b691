// sluiced status: how it is going, at a glance.
#include "daemon/commands/status.hpp"

#include <cstdio>
#include <string>

#include "daemon/commands/commands.hpp"
#include "daemon/commands/human.hpp"

namespace sluice {
namespace {

constexpr Option kJson = {"--json", false};

int run_status(const Arguments& arguments) {
    const Settings settings = settings_of(arguments);
    StatusReport report;
    ask_redis_status(settings, &report.redis);
    ask_postgres_status(settings, &report.postgres);
    if (arguments.has(kJson.name)) {
        puts(status_json(report).c_str());
        return report.good() ? kExitGood : kExitFailed;
    }
    // Servers' messages are part of it.
    const bool utf8 = terminal_reads_utf8();
    report.redis.error = one_line(report.redis.error, utf8);
    report.postgres.error = one_line(report.postgres.error, utf8);
    fputs(status_text(report).c_str(), stdout);
    return report.good() ? kExitGood : kExitFailed;
}

}  // namespace

const Command& status_command() {
    static const Command command = {
        "status",
        "shows what waits, how fast it is stored, and for how long there is room",
        R"(usage: sluiced status [--config FILE] [--json]

Asks Redis and Postgres, and takes a second: by then it knows how much comes in.

  redis        how durable it is set, its memory, and in how long it is full if Postgres stays away
               and as much goes on to come in; the edge sheds before that
  backlog      what waits to be stored; for how long the oldest of it has, in how long it is gone
  intake       what comes in now
  drain        what loaders store while there is something to store
  lag          how long ago the newest record came that is stored
  dead letters records that Postgres refused
  partitions   days of logs, and hours of the ledger, with their indexes

Records and bytes that wait or come in are estimates, by the entries looked at.

  --config FILE   settings; without it those of the environment, and the defaults
  --json          for scripts: numbers without units, null for what is unknown

examples:
  sluiced status --config /etc/sluice/sluiced.toml
  watch sluiced status
  sluiced status --json | jq '.backlog.records, .redis.full_in_seconds'

exit: 0 both ends answer and a loader stores, 1 not so, 2 wrong usage or settings
)",
        {kJson},
        false,
        run_status};
    return command;
}

}  // namespace sluice
