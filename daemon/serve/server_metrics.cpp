#include "daemon/serve/server_metrics.hpp"

#include <algorithm>

#include "daemon/metrics_page.hpp"

namespace sluice {
namespace {

constexpr const char* kEndpointNames[kEndpoints] = {"logs", "stats", "hits",    "export",
                                                    "tail", "live",  "metrics", "other"};
constexpr const char* kQueryEndNames[kQueryEnds] = {"done", "timeout", "failed", "client_gone",
                                                    "unreachable"};
constexpr const char* kExportEndNames[kExportEnds] = {"done", "failed", "cut_off", "client_gone",
                                                      "refused"};
constexpr uint64_t kMicroseconds = 1000000;

void write_tail(const TailFigures& tail, MetricsText* text) {
    text->gauge("sluice_tail_clients", "Clients that watch.", tail.clients);
    text->counter("sluice_tail_events_total", "Records that they were shown, one by one.",
                  tail.events);
    text->counter("sluice_tail_dropped_records_total",
                  "Records that they were not shown, as they were too slow.", tail.dropped);
    text->counter("sluice_tail_gaps_total",
                  "Times that one was told that what he missed is not there any more.", tail.gaps);
    text->counter("sluice_tail_refused_clients_total", "Clients that there was no place for.",
                  tail.refused);
    text->family("sluice_tail_receipt_to_event_seconds", "histogram",
                 "Records, by the time from their receipt at the edge to their events.");
    tail.lag_ms.write(1000, text);
}

}  // namespace

void HttpFigures::answered(Endpoint endpoint, int status, int64_t took_us) {
    PerEndpoint& figures = endpoints_[static_cast<size_t>(endpoint)];
    ++figures.by_status[status];
    figures.times_us.seen(static_cast<uint64_t>(std::max<int64_t>(took_us, 0)));
}

void HttpFigures::write(MetricsText* text) const {
    text->family("sluice_http_requests_total", "counter",
                 "Requests that the server answered, by status (0: the client had left); not those"
                 " that nginx answers from its cache.");
    for (size_t i = 0; i < kEndpoints; ++i) {
        for (const auto& [status, count] : endpoints_[i].by_status) {
            text->sample("endpoint", kEndpointNames[i], "status", std::to_string(status), count);
        }
    }
    text->family("sluice_http_request_duration_seconds", "histogram",
                 "From a request to the end of its answer.");
    for (size_t i = 0; i < kEndpoints; ++i) {
        const std::string label = metrics_label("endpoint", kEndpointNames[i]);
        text->labels(label);
        endpoints_[i].times_us.write(kMicroseconds, text);
    }
    text->labels("");
}

std::string server_metrics(const HttpFigures& http, uint64_t http_connections,
                           const QueryFigures& queries, const ExportFigures& exports,
                           const TailFigures& tail) {
    return metrics_page("", [&](MetricsText* text) {
        http.write(text);
        text->family("sluice_db_queries_total", "counter",
                     "Queries, by how they ended; unreachable: Postgres could not be asked.");
        for (size_t i = 0; i < kQueryEnds; ++i) {
            text->sample("end", kQueryEndNames[i], queries.ends[i]);
        }
        text->family("sluice_db_query_duration_seconds", "histogram",
                     "From asking Postgres to its last row.");
        queries.times_us.write(kMicroseconds, text);
        text->family("sluice_active_connections", "gauge",
                     "Connections that are open: of HTTP, as nginx has them, and to Postgres.");
        text->sample("kind", "http", http_connections);
        text->sample("kind", "postgres", queries.connections);
        text->gauge("sluice_server_running_queries", "Queries that are being answered.",
                    queries.running);
        text->gauge("sluice_server_waiting_queries", "Queries that wait for a connection.",
                    queries.waiting);
        text->gauge("sluice_server_gives_way",
                    "1 while queries run one at a time, since records wait to be stored.",
                    queries.gives_way);
        text->family("sluice_server_exports_total", "counter", "Exports, by how they ended.");
        for (size_t i = 0; i < kExportEnds; ++i) {
            text->sample("end", kExportEndNames[i], exports.ends[i]);
        }
        text->counter("sluice_server_exported_rows_total", "Rows in exports that have ended.",
                      exports.rows);
        text->gauge("sluice_server_running_exports", "Exports that are being sent.",
                    exports.running);
        write_tail(tail, text);
    });
}

}  // namespace sluice
