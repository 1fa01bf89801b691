#include "daemon/serve/server.hpp"

#include <unistd.h>

#include "common/query.hpp"
#include "daemon/clock.hpp"
#include "daemon/log.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/problems.hpp"
#include "daemon/serve/query_pool.hpp"
#include "daemon/serve/settled.hpp"

namespace sluice {
namespace {

// How long a stopping server waits for the answers that are under way.
constexpr int64_t kStopMs = 8000;
constexpr int64_t kStopLookMs = 20;
constexpr std::string_view kLivePath = "/health/live";

void route(Exchange* exchange, QueryPool* pool) {
    if (exchange->path() == kLivePath) {
        HttpResponse response;
        response.body = "{\"status\":\"alive\"}";
        exchange->answer(std::move(response));
        return;
    }
    Query query;
    QueryError error;
    switch (parse_query(exchange->target(), &query, &error)) {
        case QueryVerdict::kGood:
            pool->submit(exchange, query);
            break;
        case QueryVerdict::kBad:
            exchange->answer(problem_response({400, error.code, error.rule}, error.parameter));
            break;
        case QueryVerdict::kNoEndpoint:
            exchange->answer(problem_response({404, "not_found", "Nothing is here."}));
            break;
    }
}

// False if it took too long.
bool wait_for_answers(const HttpServer& server, int64_t until_us, StopSignals* signals) {
    while (server.open_exchanges() != 0) {
        if (steady_us() >= until_us || signals->wait(kStopLookMs) == StopSignals::Event::kSignal) {
            return false;
        }
    }
    return true;
}

// Requests on the connections that are open are answered, each closing its connection. A few may
// rest idle until the end, so the last look is at a server that lets no request rest any more.
bool drain(HttpServer* server, StopSignals* signals) {
    const int64_t until_us = steady_us() + kStopMs * 1000;
    server->quiesce();
    if (!wait_for_answers(*server, until_us, signals)) {
        return false;
    }
    server->refuse();
    return wait_for_answers(*server, until_us, signals);
}

}  // namespace

int run_server(const Settings& settings, StopSignals* signals) {
    const SettledHorizon horizon(settings);
    QueryPool pool(settings, &horizon);
    HttpServer server([&pool](Exchange* exchange) { route(exchange, &pool); });
    server.start(settings.serve_listen);
    log_info("server starts").with("listen", settings.serve_listen);
    while (signals->wait(-1) != StopSignals::Event::kSignal) {}
    log_info("stopping: answers under way are finished first");
    if (!drain(&server, signals)) {
        log_warn("stopped without waiting any longer");
        _exit(1);
    }
    server.stop();
    log_info("server stopped");
    return 0;
}

}  // namespace sluice
