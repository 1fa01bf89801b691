// How many logs there were in each step of time, by level, from the counters.
#pragma once

#include "common/query.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/serve/http_server.hpp"

namespace sluice {

// False if Postgres did not answer; the connection's error() says why.
[[nodiscard]] bool answer_hits(PgConnection* connection, const Query& query, int64_t now_us,
                               HttpResponse* response);

}  // namespace sluice
