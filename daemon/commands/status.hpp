// The parts of sluiced status, each about one neighbour.
#pragma once

#include "daemon/commands/status_report.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// Looks twice, with a second between: that is how the present rate is known.
void ask_redis_status(const Settings& settings, RedisStatusReport* report);
void ask_postgres_status(const Settings& settings, PostgresStatusReport* report);

}  // namespace sluice
