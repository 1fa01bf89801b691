#include "daemon/serve/hits.hpp"

#include <algorithm>
#include <string>

#include "common/timestamp.hpp"
#include "daemon/pg_text.hpp"
#include "daemon/serve/bodies.hpp"
#include "daemon/serve/page_sql.hpp"
#include "daemon/serve/problems.hpp"

namespace sluice {
namespace {

constexpr const char* kCacheControl = "max-age=3, stale-while-revalidate=3";
constexpr int64_t kSecondUs = 1000 * 1000;
constexpr int64_t kHourUs = 3600 * kSecondUs;
constexpr uint32_t kStepsWished = 120;
constexpr int64_t kStepsMax = 1500;

// From the coarsest counters that know the step.
std::string hits_sql(uint32_t step_s) {
    const char* unit = step_s % 86400 == 0 ? "day" : step_s % 3600 == 0 ? "hour" : "minute";
    const std::string table =
        step_s % 3600 == 0 ? std::string("counters_") + unit : std::string("counters");
    const std::string step = std::to_string(step_s);
    return "SELECT (floor(extract(epoch FROM " + std::string(unit) + ") / " + step +
           "))::bigint * " + step + ", log_level, sum(n)::bigint FROM " + table + " WHERE " + unit +
           " >= $1 AND " + unit +
           " < $2 AND log_level = ANY ($3::log_level[]) GROUP BY 1, 2 ORDER BY 1, 2";
}

// One step: its time, and a number for each level that has any.
void append_step(int64_t time_us, const PgRows& rows, int first, int end, int64_t* total,
                 std::string* out) {
    int64_t sum = 0;
    std::string levels;
    for (int row = first; row < end; ++row) {
        sum += rows.integer(row, 2);
        levels.append(levels.empty() ? "\"" : ",\"").append(rows.text(row, 1)).append("\":");
        levels.append(rows.text(row, 2));
    }
    out->append(out->empty() ? "{\"time\":\"" : ",{\"time\":\"");
    append_time(time_us, out);
    out->append("\",\"total\":" + std::to_string(sum) + ",\"logs_by_level\":{" + levels + "}}");
    *total += sum;
}

}  // namespace

bool answer_hits(PgConnection* connection, const Query& query, int64_t now_us,
                 HttpResponse* response) {
    const int64_t asked_to_us = query.to.given() ? query.to.resolve(now_us) : now_us;
    const int64_t asked_from_us =
        query.from.given() ? query.from.resolve(now_us) : asked_to_us - kHourUs;
    const uint32_t step_s =
        query.step_s != 0 ? query.step_s : step_for(asked_to_us - asked_from_us, kStepsWished);
    const int64_t step_us = step_s * kSecondUs;
    // Whole steps, as far as they can be written.
    const int64_t from_us = std::max(floor_to(asked_from_us, step_us), kTimestampMinUs);
    const int64_t to_us = std::max(floor_to(asked_to_us + step_us - 1, step_us), from_us);
    if ((to_us - from_us) / step_us > kStepsMax || to_us >= kTimestampEndUs) {
        *response =
            bad_query("bad_parameter", "must leave at most 1500 steps to the time asked for",
                      query.step_s != 0    ? "step"
                      : query.from.given() ? "from"
                                           : "to");
        return true;
    }
    const std::string from = time_text(from_us);
    const std::string to = time_text(to_us);
    const std::string levels = levels_array(query.levels);
    const PgRows rows =
        connection->query(hits_sql(step_s).c_str(), {from.c_str(), to.c_str(), levels.c_str()});
    if (!rows) {
        return false;
    }
    std::string hits;
    int64_t total = 0;
    int row = 0;
    for (int64_t time_us = from_us; time_us < to_us; time_us += step_us) {
        const int first = row;
        while (row < rows.count() && rows.integer(row, 0) * kSecondUs == time_us) {
            ++row;
        }
        append_step(time_us, rows, first, row, &total, &hits);
    }
    char step[16];
    const std::string step_text(step, write_step(step_s, step));
    finish_body("\"from\":\"" + from + "\",\"to\":\"" + to + "\",\"step\":\"" + step_text +
                    "\",\"total\":" + std::to_string(total) + ",\"hits\":[" + hits + "]",
                response);
    response->cache_control = kCacheControl;
    return true;
}

}  // namespace sluice
