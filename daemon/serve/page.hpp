// A page of logs: a walk through time from where the query says, until the page is full, all there
// is has been seen, or it has taken too long.
#pragma once

#include "common/query.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/serve/http_server.hpp"

namespace sluice {

struct PageMoment {
    int64_t now_us = 0;           // since 1970
    int64_t settled_us = 0;       // rows older than this are all there
    int64_t search_until_us = 0;  // by the steady clock: a search goes no further
};

// False if Postgres did not answer; the connection's error() says why.
[[nodiscard]] bool answer_page(PgConnection* connection, const Query& query,
                               const PageMoment& moment, HttpResponse* response);

}  // namespace sluice
