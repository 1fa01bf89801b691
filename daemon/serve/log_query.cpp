#include "daemon/serve/log_query.hpp"

#include "common/json_text.hpp"
#include "common/timestamp.hpp"

namespace sluice {
namespace {

enum Column : int { kId, kDevice, kLevel, kMessage, kData, kCreatedUs };

// Microseconds as a number: Postgres would show a time in a format of its own. Ordered as the
// index logs_device is, so that a page costs what it returns, however large the table.
constexpr const char* kPageSql =
    "SELECT id, device_id, log_level, message, log_data,"
    " (extract(epoch FROM created_at) * 1000000)::bigint"
    " FROM logs WHERE device_id = $1 AND log_level = ANY ($2::log_level[])"
    " ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4";
constexpr const char* kPageAllLevelsSql =
    "SELECT id, device_id, log_level, message, log_data,"
    " (extract(epoch FROM created_at) * 1000000)::bigint"
    " FROM logs WHERE device_id = $1"
    " ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3";

constexpr const char* kPageCacheControl = "max-age=1";

std::string levels_array(uint8_t levels) {
    std::string text = "{";
    for (unsigned level = 0; level < kLevelCount; ++level) {
        if ((levels & (1U << level)) != 0) {
            text.append(text.size() > 1 ? "," : "").append(kLevelNames[level]);
        }
    }
    return text + "}";
}

void append_string(std::string_view value, std::string* out) {
    const size_t size = out->size();
    out->resize(size + value.size() * kJsonEscapeFactor + 2);
    char* end = out->data() + size;
    *end++ = '"';
    end = json_escape(value, end);
    *end++ = '"';
    out->resize(static_cast<size_t>(end - out->data()));
}

void append_row(const PgRows& rows, int row, std::string* out) {
    char time[kTimestampBytes + 1];
    char* time_end = format_timestamp(rows.integer(row, kCreatedUs), time);
    out->append(row == 0 ? "{\"id\":" : ",{\"id\":").append(rows.text(row, kId));
    out->append(",\"device_id\":");
    append_string(rows.text(row, kDevice), out);
    out->append(",\"log_level\":\"").append(rows.text(row, kLevel));
    out->append("\",\"message\":");
    append_string(rows.text(row, kMessage), out);
    out->append(",\"log_data\":").append(rows.text(row, kData));
    out->append(",\"created_at\":\"").append(time, time_end).append("\"}");
}

}  // namespace

bool answer_log_query(PgConnection* connection, const LogQuery& query, HttpResponse* response) {
    const std::string device(query.device_id, query.device_id_bytes);
    const std::string levels = levels_array(query.levels);
    const std::string limit = std::to_string(query.limit);
    const std::string offset = std::to_string(query.offset);
    const PgRows rows =
        query.levels == 0
            ? connection->query(kPageAllLevelsSql, {device.c_str(), limit.c_str(), offset.c_str()})
            : connection->query(kPageSql,
                                {device.c_str(), levels.c_str(), limit.c_str(), offset.c_str()});
    if (!rows) {
        return false;
    }
    std::string& body = response->body;
    body = "{\"total\":" + std::to_string(rows.count()) + ",\"source\":\"database\",\"data\":[";
    for (int row = 0; row < rows.count(); ++row) {
        append_row(rows, row, &body);
    }
    body.append("],\"next_cursor\":null}");
    response->cache_control = kPageCacheControl;
    return true;
}

}  // namespace sluice
