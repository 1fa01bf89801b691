// The SQL of the table devices: when each was seen last.
#pragma once

#include "daemon/load/device_set.hpp"
#include "daemon/pg_connection.hpp"

namespace sluice {

// What is known to be newer stays.
[[nodiscard]] bool store_last_seen(PgConnection* connection, const DeviceSet& devices);

// Those of whose days nothing is kept.
[[nodiscard]] bool forget_devices(PgConnection* connection);

}  // namespace sluice
