// How the server asks Postgres: as one who can only read.
#pragma once

#include "daemon/pg_connection.hpp"
#include "daemon/settings.hpp"

namespace sluice {

[[nodiscard]] PgOptions reader_options(const Settings& settings);

}  // namespace sluice
