#include "daemon/serve/page.hpp"

#include "daemon/pg_text.hpp"
#include "daemon/serve/bodies.hpp"
#include "daemon/serve/problems.hpp"
#include "daemon/serve/row_text.hpp"

namespace sluice {
namespace {

constexpr std::string_view kDataException = "22";

// Of rows in a page; it ends behind the one that passes this. Records are small, but jsonb may show
// as fifty times what was sent: 1e308 has 309 digits.
constexpr size_t kPageBytesMax = 16UL << 20;

// A crowd that asks for the newest page costs a query a second; who asks alone sees what is there,
// and at most a page two seconds old.
constexpr const char* kLiveCacheControl = "max-age=1, stale-while-revalidate=1";
// Only retention, an import or a replay of dead letters can change it.
constexpr const char* kSettledCacheControl = "max-age=3600";

std::string cursor_json(const std::optional<QueryCursor>& cursor) {
    if (!cursor) {
        return "null";
    }
    char text[kQueryCursorBytes];
    return "\"" + std::string(text, write_cursor(*cursor, text)) + "\"";
}

std::string settled_json(int64_t settled_us) {
    return settled_us <= kTimestampMinUs ? "null" : "\"" + time_text(settled_us) + "\"";
}

}  // namespace

bool answer_page(PgConnection* connection, const Query& query, const PageMoment& moment,
                 HttpResponse* response) {
    PageWalk walk(query, moment);
    std::string rows;
    const auto on_row = [&](const PgRows& from, int row) {
        if (!rows.empty()) {
            rows.push_back(',');
        }
        append_row_json(from, row, &rows);
        if (rows.size() > kPageBytesMax) {
            walk.enough();
        }
    };
    if (!walk.read(connection, query.limit, on_row)) {
        return is_bad_query(query, connection->error(), response);
    }
    std::string body = "\"total\":" + std::to_string(walk.count()) + ",\"data\":[" + rows +
                       "],\"next_cursor\":" + cursor_json(walk.next());
    if (walk.stopped_early()) {
        body += ",\"stopped_early\":true";
    }
    if (query.ascending) {
        body += ",\"settled_to\":" + settled_json(moment.settled_us);
    }
    finish_body(std::move(body), response);
    response->cache_control = walk.is_settled() ? kSettledCacheControl : kLiveCacheControl;
    return true;
}

bool is_bad_query(const Query& query, const PgError& error, HttpResponse* response) {
    // Good JSON, and yet nothing that jsonb can hold: \u0000 in a string.
    if (!query.contains.given() || error.sqlstate.substr(0, 2) != kDataException) {
        return false;
    }
    *response = bad_query("bad_parameter", "must be a JSON object without \\u0000", "contains");
    return true;
}

}  // namespace sluice
