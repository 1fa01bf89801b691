#include "daemon/serve/server.hpp"

#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "common/query_params.hpp"
#include "daemon/clock.hpp"
#include "daemon/log.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/problems.hpp"
#include "daemon/serve/query_pool.hpp"

namespace sluice {
namespace {

// How long a stopping server waits for the answers that are under way.
constexpr int64_t kStopMs = 8000;
constexpr int64_t kStopLookMs = 20;
constexpr std::string_view kLogsPath = "/api/logs/";
constexpr std::string_view kLivePath = "/health/live";

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

void route(Exchange* exchange, QueryPool* pool) {
    const std::string_view path = exchange->path();
    if (path.substr(0, kLogsPath.size()) == kLogsPath && path.size() > kLogsPath.size() &&
        path.find('/', kLogsPath.size()) == std::string_view::npos) {
        answer_device_page(exchange, pool);
    } else if (path == kLivePath) {
        HttpResponse response;
        response.body = "{\"status\":\"alive\"}";
        exchange->answer(std::move(response));
    } else {
        exchange->answer(problem_response({404, "not_found", "Nothing is here."}));
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
    QueryPool pool(settings);
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
