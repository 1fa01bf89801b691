#include "daemon/serve/stats.hpp"

#include "common/record_rules.hpp"
#include "daemon/pg_text.hpp"
#include "daemon/serve/bodies.hpp"

namespace sluice {
namespace {

constexpr const char* kCacheControl = "max-age=3, stale-while-revalidate=3";
constexpr const char* kSums =
    "SELECT known.level::text, coalesce(sum(n), 0)::bigint"
    " FROM unnest(enum_range(NULL::log_level)) AS known (level)"
    " LEFT JOIN counters_day ON log_level = known.level"
    " GROUP BY known.level ORDER BY known.level";
constexpr const char* kRecentDevices =
    "SELECT device_id, (extract(epoch FROM last_seen) * 1000000)::bigint"
    " FROM devices ORDER BY last_seen DESC LIMIT 10";

}  // namespace

bool answer_stats(PgConnection* connection, HttpResponse* response) {
    const PgRows sums = connection->query(kSums);
    if (!sums) {
        return false;
    }
    const PgRows devices = connection->query(kRecentDevices);
    if (!devices) {
        return false;
    }
    int64_t total = 0;
    std::string by_level;
    for (int row = 0; row < sums.count(); ++row) {
        total += sums.integer(row, 1);
        by_level.append(row == 0 ? "\"" : ",\"").append(sums.text(row, 0)).append("\":");
        by_level.append(sums.text(row, 1));
    }
    std::string recent;
    std::string last_seen;
    for (int row = 0; row < devices.count(); ++row) {
        std::string device;
        append_json_string(devices.text(row, 0), &device);
        recent.append(row == 0 ? "" : ",").append(device);
        last_seen.append(row == 0 ? "" : ",").append(device).append(":\"");
        append_time(devices.integer(row, 1), &last_seen);
        last_seen.append("\"");
    }
    finish_body("\"total_logs\":" + std::to_string(total) + ",\"logs_by_level\":{" + by_level +
                    "},\"recent_devices\":[" + recent + "],\"last_seen\":{" + last_seen + "}",
                response);
    response->cache_control = kCacheControl;
    return true;
}

}  // namespace sluice
