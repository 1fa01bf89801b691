// The page of a device: a checked query in, SQL with parameters, JSON out.
#pragma once

#include "common/query_params.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/serve/http_server.hpp"

namespace sluice {

// False if Postgres did not answer; the connection's error() says why.
[[nodiscard]] bool answer_log_query(PgConnection* connection, const LogQuery& query,
                                    HttpResponse* response);

}  // namespace sluice
