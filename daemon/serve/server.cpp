#include "daemon/serve/server.hpp"

#include <unistd.h>

#include "common/query.hpp"
#include "daemon/clock.hpp"
#include "daemon/log.hpp"
#include "daemon/metrics_page.hpp"
#include "daemon/serve/exporter.hpp"
#include "daemon/serve/handed_socket.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/problems.hpp"
#include "daemon/serve/query_pool.hpp"
#include "daemon/serve/server_metrics.hpp"
#include "daemon/serve/settled.hpp"
#include "daemon/serve/tail.hpp"

namespace sluice {
namespace {

constexpr int64_t kStopLookMs = 20;
// Within this the request is there of whoever had connected.
constexpr int64_t kConnectedMs = 100;
constexpr std::string_view kLogsPath = "/api/logs";
constexpr std::string_view kTailPath = "/api/logs/stream";
constexpr std::string_view kStatsPath = "/api/stats";
constexpr std::string_view kHitsPath = "/api/hits";
constexpr std::string_view kLivePath = "/health/live";
constexpr std::string_view kMetricsPath = "/metrics";

Endpoint endpoint_of(std::string_view path) noexcept {
    if (path == kLogsPath || path.substr(0, kLogsPath.size() + 1) == "/api/logs/") {
        return Endpoint::kLogs;
    }
    return path == kStatsPath     ? Endpoint::kStats
           : path == kHitsPath    ? Endpoint::kHits
           : path == kLivePath    ? Endpoint::kLive
           : path == kMetricsPath ? Endpoint::kMetrics
                                  : Endpoint::kOther;
}

// As it was answered.
Endpoint endpoint_of(const Exchange& exchange) noexcept {
    if (exchange.path() == kTailPath) {
        return Endpoint::kTail;
    }
    return exchange.is_stream() ? Endpoint::kExport : endpoint_of(exchange.path());
}

class Api {
  public:
    explicit Api(const Settings& settings)
        : horizon_(settings),
          pool_(settings, &horizon_),
          exporter_(settings, &horizon_),
          tail_(settings),
          server_([this](Exchange* exchange) { route(exchange); },
                  [this](const Exchange& exchange) {
                      figures_.answered(endpoint_of(exchange), exchange.status(),
                                        exchange.took_us());
                  }) {
        server_.make_room(static_cast<unsigned>(settings.serve_tail_clients));
    }

    [[nodiscard]] HttpServer& server() noexcept { return server_; }
    [[nodiscard]] SettledHorizon& horizon() noexcept { return horizon_; }
    [[nodiscard]] Exporter& exporter() noexcept { return exporter_; }
    [[nodiscard]] Tail& tail() noexcept { return tail_; }

    void apply(const Settings& settings) {
        pool_.apply(settings);
        exporter_.apply(settings);
    }
    [[nodiscard]] std::string status() const {
        const QueryFigures queries = pool_.figures();
        return std::to_string(queries.running) + " queries run, " +
               std::to_string(queries.waiting) + " wait";
    }

  private:
    void route(Exchange* exchange) {
        HttpResponse response;
        switch (endpoint_of(exchange->path())) {
            case Endpoint::kLive:
                response.body = "{\"status\":\"alive\"}";
                break;
            case Endpoint::kMetrics:
                response.content_type = kMetricsContentType;
                response.body =
                    server_metrics(figures_, server_.open_connections(), pool_.figures(),
                                   exporter_.figures(), tail_.figures());
                break;
            default:
                answer_query(exchange);
                return;
        }
        exchange->answer(std::move(response));
    }

    void answer_query(Exchange* exchange) {
        Query query;
        QueryError error;
        switch (parse_query(exchange->target(), &query, &error)) {
            case QueryVerdict::kGood:
                answer(exchange, query);
                break;
            case QueryVerdict::kBad:
                exchange->answer(bad_query(error.code, error.rule, error.parameter));
                break;
            case QueryVerdict::kNoEndpoint:
                exchange->answer(problem_response({404, "not_found", "Nothing is here."}));
                break;
        }
    }

    void answer(Exchange* exchange, const Query& query) {
        if (query.kind == QueryKind::kTail) {
            tail_.submit(exchange, query);
        } else if (query.format != QueryFormat::kPage) {
            exporter_.submit(exchange, query);
        } else {
            pool_.submit(exchange, query);
        }
    }

    SettledHorizon horizon_;
    QueryPool pool_;
    Exporter exporter_;
    Tail tail_;
    HttpFigures figures_;  // the server's thread alone
    HttpServer server_;
};

enum class Waited : uint8_t { kAllAnswered, kTooLong, kLeaveAtOnce };

Waited wait_for_answers(const HttpServer& server, int64_t until_us, Signals* signals) {
    while (server.open_exchanges() != 0) {
        if (steady_us() >= until_us) {
            return Waited::kTooLong;
        }
        if (signals->wait_stopping(kStopLookMs) == Signals::Event::kStop) {
            return Waited::kLeaveAtOnce;
        }
    }
    return Waited::kAllAnswered;
}

// Requests on the connections that are open are answered, each closing its connection. Exports that
// do not end by themselves in half of the time are cut off. A few connections may rest idle until
// the end, so the last look is at a server that lets no request rest any more.
bool drain(Api* api, Signals* signals) {
    HttpServer& server = api->server();
    const int64_t began_us = steady_us();
    const int64_t until_us = began_us + kStopMs * 1000;
    server.quiesce();
    if (signals->wait_stopping(kConnectedMs) == Signals::Event::kStop) {
        return false;
    }
    Waited waited = wait_for_answers(server, began_us + kStopMs * 500, signals);
    if (waited == Waited::kTooLong) {
        api->exporter().cut_off();
        api->tail().hang_up();
        waited = wait_for_answers(server, until_us, signals);
    }
    if (waited != Waited::kAllAnswered) {
        return false;
    }
    server.refuse();
    return wait_for_answers(server, until_us, signals) == Waited::kAllAnswered;
}

}  // namespace

int run_server(Service* service) {
    const Settings& settings = service->settings();
    Api api(settings);
    HttpServer& server = api.server();
    const int handed = handed_listen_socket();
    if (handed >= 0) {
        server.start_handed(handed);
    } else {
        server.start(settings.serve_listen);
    }
    log_info("server starts")
        .with("listen", handed >= 0 ? "the socket handed over" : settings.serve_listen);
    static_cast<void>(service->run({[] { return true; }, [&api] { return api.status(); },
                                    [&api](const Settings& changed) { api.apply(changed); }}));
    log_info("stopping: answers under way are finished first");
    api.horizon().stop();
    api.tail().stop();
    if (!drain(&api, service->signals())) {
        log_warn("stopped without waiting any longer");
        _exit(1);
    }
    server.stop();
    log_info("server stopped");
    if (!api.horizon().stopped() || !api.tail().stopped()) {
        // One of them waits for a Redis that hangs, and nobody for it.
        _exit(0);
    }
    return 0;
}

}  // namespace sluice
