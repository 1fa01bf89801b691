// The parts of sluiced check, each about one neighbour.
#pragma once

#include <cstdint>

#include "daemon/commands/finding.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/redis_durability.hpp"
#include "daemon/settings.hpp"

namespace sluice {

void check_redis(const Settings& settings, Durability wanted, Findings* findings);
void check_postgres(const Settings& settings, Findings* findings);
void check_server(const Settings& settings, Findings* findings);

// Of check_postgres: asks as the loader, and as the reader on a connection with these options.
// False if it could not be asked everything.
[[nodiscard]] bool check_rights(PgConnection* loader, const Settings& settings,
                                const PgOptions& options, Findings* findings);

// By how much a clock differs from this host's, told between two looks at that one: where it falls
// outside of them. All in microseconds.
[[nodiscard]] Finding judge_clock(const char* check, const char* whose, int64_t theirs_us,
                                  int64_t before_us, int64_t after_us);

}  // namespace sluice
