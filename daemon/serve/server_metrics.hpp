// What the server counts, as Prometheus text. The names are those that clients of the API this one
// replaces know, behind "sluice_".
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "daemon/histogram.hpp"

namespace sluice {

inline constexpr uint64_t kAnswerBoundsUs[] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000};
using AnswerTimes = Histogram<kAnswerBoundsUs>;

enum class Endpoint : uint8_t { kLogs, kStats, kHits, kExport, kTail, kLive, kMetrics, kOther };
inline constexpr size_t kEndpoints = static_cast<size_t>(Endpoint::kOther) + 1;

enum class QueryEnd : uint8_t { kDone, kTimeout, kFailed, kGone, kUnreachable };
inline constexpr size_t kQueryEnds = static_cast<size_t>(QueryEnd::kUnreachable) + 1;

struct QueryFigures {
    uint64_t ends[kQueryEnds] = {};
    AnswerTimes times_us;  // of those that Postgres was asked
    uint64_t connections = 0;
    uint64_t running = 0;
    uint64_t waiting = 0;
    uint64_t gives_way = 0;
};

enum class ExportEnd : uint8_t { kDone, kFailed, kCutOff, kClientGone, kRefused };
inline constexpr size_t kExportEnds = static_cast<size_t>(ExportEnd::kRefused) + 1;

struct ExportFigures {
    uint64_t ends[kExportEnds] = {};
    uint64_t rows = 0;  // of those that have ended
    uint64_t running = 0;
};

inline constexpr uint64_t kTailLagBoundsMs[] = {5,   10,   25,   50,   100,   250,
                                                500, 1000, 2500, 5000, 10000, 60000};

struct TailFigures {
    uint64_t clients = 0;
    uint64_t events = 0;  // records, each as often as it was shown
    uint64_t dropped = 0;
    uint64_t gaps = 0;
    uint64_t refused = 0;
    Histogram<kTailLagBoundsMs> lag_ms;  // of each record that came, by two machines' clocks
};

// Not for several threads at once: the HTTP server's counts, and asks.
class HttpFigures {
  public:
    // status: 0 if the client had left.
    void answered(Endpoint endpoint, int status, int64_t took_us);
    void write(MetricsText* text) const;

  private:
    struct PerEndpoint {
        std::map<int, uint64_t> by_status;
        AnswerTimes times_us;
    };
    PerEndpoint endpoints_[kEndpoints];
};

[[nodiscard]] std::string server_metrics(const HttpFigures& http, uint64_t http_connections,
                                         const QueryFigures& queries, const ExportFigures& exports,
                                         const TailFigures& tail);

}  // namespace sluice
