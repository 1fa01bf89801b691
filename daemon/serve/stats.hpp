// How much there is, from the counters, and who wrote last.
#pragma once

#include "daemon/pg_connection.hpp"
#include "daemon/serve/http_server.hpp"

namespace sluice {

// False if Postgres did not answer; the connection's error() says why.
[[nodiscard]] bool answer_stats(PgConnection* connection, HttpResponse* response);

}  // namespace sluice
