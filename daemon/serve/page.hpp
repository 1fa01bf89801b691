// A page of logs, as JSON.
#pragma once

#include "common/query.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/page_walk.hpp"

namespace sluice {

// False if Postgres did not answer; the connection's error() says why.
[[nodiscard]] bool answer_page(PgConnection* connection, const Query& query,
                               const PageMoment& moment, HttpResponse* response);

// Of a query that Postgres does not take for what is in it, the problem to tell; else nothing.
[[nodiscard]] bool is_bad_query(const Query& query, const PgError& error, HttpResponse* response);

}  // namespace sluice
