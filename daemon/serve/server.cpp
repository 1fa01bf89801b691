#include "daemon/serve/server.hpp"

#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "common/query_params.hpp"
#include "daemon/clock.hpp"
#include "daemon/log.hpp"
#include "daemon/metrics_page.hpp"
#include "daemon/serve/handed_socket.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/problems.hpp"
#include "daemon/serve/query_pool.hpp"
#include "daemon/serve/server_metrics.hpp"

namespace sluice {
namespace {

constexpr int64_t kStopLookMs = 20;
// Within this the request is there of whoever had connected.
constexpr int64_t kConnectedMs = 100;
constexpr std::string_view kLogsPath = "/api/logs/";
constexpr std::string_view kLivePath = "/health/live";
constexpr std::string_view kMetricsPath = "/metrics";

HttpResponse bad_parameter(std::string_view parameter, std::string_view code,
                           std::string_view rule) {
    return problem_response({400, code, rule}, parameter);
}

// The segment of the path, decoded here and nowhere else.
bool read_device_id(std::string_view segment, LogQuery* query) {
    std::string decoded(segment.size(), '\0');
    const char* end = percent_decode(segment, false, decoded.data());
    if (end == nullptr) {
        return false;
    }
    decoded.resize(static_cast<size_t>(end - decoded.data()));
    const auto is_control = [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    };
    if (decoded.empty() || decoded.size() > kDeviceIdBytesMax ||
        std::any_of(decoded.begin(), decoded.end(), is_control) ||
        !simdjson::validate_utf8(decoded)) {
        return false;
    }
    memcpy(query->device_id, decoded.data(), decoded.size());
    query->device_id_bytes = static_cast<uint8_t>(decoded.size());
    return true;
}

void answer_device_page(Exchange* exchange, QueryPool* pool) {
    LogQuery query;
    QueryError error;
    const std::string_view segment = exchange->path().substr(kLogsPath.size());
    if (!parse_log_query(exchange->args(), &query, &error)) {
        exchange->answer(bad_parameter(error.parameter, error.code, error.rule));
    } else if (query.device_id_bytes != 0) {
        exchange->answer(
            bad_parameter("device_id", "duplicate_parameter", "is named by the path already"));
    } else if (!read_device_id(segment, &query)) {
        exchange->answer(
            bad_parameter("device_id", "bad_device_id",
                          "must be 1 to 50 bytes of UTF-8 without control characters"));
    } else {
        pool->submit(exchange, query);
    }
}

Endpoint endpoint_of(std::string_view path) noexcept {
    if (path.substr(0, kLogsPath.size()) == kLogsPath && path.size() > kLogsPath.size() &&
        path.find('/', kLogsPath.size()) == std::string_view::npos) {
        return Endpoint::kDeviceLogs;
    }
    return path == kLivePath      ? Endpoint::kLive
           : path == kMetricsPath ? Endpoint::kMetrics
                                  : Endpoint::kOther;
}

class Api {
  public:
    explicit Api(const Settings& settings)
        : pool_(settings),
          server_([this](Exchange* exchange) { route(exchange); },
                  [this](const Exchange& exchange) {
                      figures_.answered(endpoint_of(exchange.path()), exchange.status(),
                                        exchange.took_us());
                  }) {}

    [[nodiscard]] HttpServer& server() noexcept { return server_; }

    void apply(const Settings& settings) { pool_.apply(settings); }
    [[nodiscard]] std::string status() const {
        const QueryFigures queries = pool_.figures();
        return std::to_string(queries.running) + " queries run, " +
               std::to_string(queries.waiting) + " wait";
    }

  private:
    void route(Exchange* exchange) {
        HttpResponse response;
        switch (endpoint_of(exchange->path())) {
            case Endpoint::kDeviceLogs:
                answer_device_page(exchange, &pool_);
                return;
            case Endpoint::kLive:
                response.body = "{\"status\":\"alive\"}";
                break;
            case Endpoint::kMetrics:
                response.content_type = kMetricsContentType;
                response.body =
                    server_metrics(figures_, server_.open_connections(), pool_.figures());
                break;
            case Endpoint::kOther:
                response = problem_response({404, "not_found", "Nothing is here."});
                break;
        }
        exchange->answer(std::move(response));
    }

    QueryPool pool_;
    HttpFigures figures_;  // the server's thread alone
    HttpServer server_;
};

// False if it took too long.
bool wait_for_answers(const HttpServer& server, int64_t until_us, Signals* signals) {
    while (server.open_exchanges() != 0) {
        if (steady_us() >= until_us ||
            signals->wait_stopping(kStopLookMs) == Signals::Event::kStop) {
            return false;
        }
    }
    return true;
}

// Requests on the connections that are open are answered, each closing its connection. A few may
// rest idle until the end, so the last look is at a server that lets no request rest any more.
bool drain(HttpServer* server, Signals* signals) {
    const int64_t until_us = steady_us() + kStopMs * 1000;
    server->quiesce();
    if (signals->wait_stopping(kConnectedMs) == Signals::Event::kStop) {
        return false;
    }
    if (!wait_for_answers(*server, until_us, signals)) {
        return false;
    }
    server->refuse();
    return wait_for_answers(*server, until_us, signals);
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
    if (!drain(&server, service->signals())) {
        log_warn("stopped without waiting any longer");
        _exit(1);
    }
    server.stop();
    log_info("server stopped");
    return 0;
}

}  // namespace sluice
