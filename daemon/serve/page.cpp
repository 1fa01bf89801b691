#include "daemon/serve/page.hpp"

#include <algorithm>

#include "common/timestamp.hpp"
#include "daemon/clock.hpp"
#include "daemon/pg_text.hpp"
#include "daemon/serve/bodies.hpp"
#include "daemon/serve/page_sql.hpp"
#include "daemon/serve/problems.hpp"
#include "daemon/serve/windows.hpp"

namespace sluice {
namespace {

// Smaller than every row's, so that a cursor with it stands in front of all rows of its time.
constexpr int64_t kBeforeAllIds = INT64_MIN;
constexpr std::string_view kDataException = "22";

// A crowd that asks for the newest page costs a query a second; who asks alone sees what is there,
// and at most a page two seconds old.
constexpr const char* kLiveCacheControl = "max-age=1, stale-while-revalidate=1";
// Only retention, an import or a replay of dead letters can change it.
constexpr const char* kSettledCacheControl = "max-age=3600";

void append_row(const PgRows& rows, int row, std::string* out) {
    out->append(out->empty() ? "{\"id\":" : ",{\"id\":").append(rows.text(row, kPageId));
    out->append(",\"device_id\":");
    append_json_string(rows.text(row, kPageDevice), out);
    out->append(",\"log_level\":\"").append(rows.text(row, kPageLevel));
    out->append("\",\"message\":");
    append_json_string(rows.text(row, kPageMessage), out);
    out->append(",\"log_data\":").append(rows.text(row, kPageData));
    out->append(",\"created_at\":\"");
    append_time(rows.integer(row, kPageCreatedUs), out);
    if (!rows.text(row, kPageEventUs).empty()) {
        out->append("\",\"event_time\":\"");
        append_time(rows.integer(row, kPageEventUs), out);
    }
    out->append("\"}");
}

class Page {
  public:
    Page(const Query& query, const PageMoment& moment)
        : query_(query),
          moment_(moment),
          began_us_(query.has_cursor ? query.cursor.began_us : moment.now_us),
          bounds_(bounds()) {}

    // False if Postgres did not answer.
    bool read(PgConnection* connection) {
        if (query_.offset != 0) {
            // How much of it an offset leaves out is known only to who reads it all.
            return read_window(connection, bounds_);
        }
        Windows windows(connection, query_, bounds_, moment_.now_us);
        while (!full_) {
            TimeRange window;
            const Windows::Next next = windows.next(&window);
            if (next != Windows::Next::kWindow) {
                return next == Windows::Next::kEnd;
            }
            const int64_t began_at_us = steady_us();
            if (searched_ && began_at_us > moment_.search_until_us) {
                stopped_early_ = true;
                return true;
            }
            if (!read_window(connection, window)) {
                // What was found is worth more than an error: the next page goes on there.
                stopped_early_ = searched_ && connection->error().sqlstate == kQueryCancelled;
                return stopped_early_;
            }
            windows.took(steady_us() - began_at_us);
            seen_to_us_ = query_.ascending ? window.to_us : window.from_us;
            searched_ = query_.text.given() || query_.contains.given();
        }
        return true;
    }

    void write(HttpResponse* response) const {
        std::string body = "\"total\":" + std::to_string(count_) + ",\"data\":[" + rows_ +
                           "],\"next_cursor\":" + next_cursor();
        if (stopped_early_) {
            body += ",\"stopped_early\":true";
        }
        if (query_.ascending) {
            body += ",\"settled_to\":" + settled_to();
        }
        finish_body(std::move(body), response);
        response->cache_control = is_settled() ? kSettledCacheControl : kLiveCacheControl;
    }

  private:
    // Where rows can be that this page, or one behind it, may show.
    [[nodiscard]] TimeRange bounds() const {
        TimeRange bounds;
        if (query_.from.given()) {
            bounds.from_us = std::max(bounds.from_us, query_.from.resolve(began_us_));
        }
        if (query_.to.given()) {
            bounds.to_us = std::min(bounds.to_us, query_.to.resolve(began_us_));
        }
        if (query_.ascending) {
            // What is not settled yet could get a row in front of where the walk has come to.
            bounds.to_us = std::min(bounds.to_us, moment_.settled_us);
        }
        if (query_.has_cursor && query_.ascending) {
            bounds.from_us = std::max(bounds.from_us, query_.cursor.created_at_us);
        } else if (query_.has_cursor) {
            bounds.to_us = std::min(bounds.to_us, query_.cursor.created_at_us + 1);
        }
        return bounds;
    }

    bool read_window(PgConnection* connection, const TimeRange& window) {
        const uint32_t wanted = query_.limit - count_;
        // One more tells whether there is a next page.
        const PageSql sql = page_sql(query_, window, wanted + 1, query_.offset);
        std::vector<const char*> values;
        for (const std::string& value : sql.values) {
            values.push_back(value.c_str());
        }
        const PgRows rows = connection->query(sql.text.c_str(), values);
        if (!rows) {
            return false;
        }
        const int taken = std::min(rows.count(), static_cast<int>(wanted));
        for (int row = 0; row < taken; ++row) {
            append_row(rows, row, &rows_);
        }
        if (taken > 0) {
            last_created_us_ = rows.integer(taken - 1, kPageCreatedUs);
            last_id_ = rows.integer(taken - 1, kPageId);
        }
        count_ += static_cast<uint32_t>(taken);
        full_ = rows.count() > taken;
        return true;
    }

    [[nodiscard]] std::string next_cursor() const {
        QueryCursor cursor{0, kBeforeAllIds, began_us_};
        if (full_) {
            cursor.created_at_us = last_created_us_;
            cursor.id = last_id_;
        } else if (stopped_early_) {
            cursor.created_at_us = seen_to_us_;
        } else if (!query_.ascending || ends_by_itself()) {
            return "null";
        } else {
            // All that is settled has been seen: what comes then is behind this.
            cursor.created_at_us = std::max(bounds_.from_us, bounds_.to_us);
            if (bounds_.empty() && query_.has_cursor) {
                cursor.id = query_.cursor.id;
            }
        }
        char text[kQueryCursorBytes];
        return "\"" + std::string(text, write_cursor(cursor, text)) + "\"";
    }

    // A walk forwards to a time that is settled.
    [[nodiscard]] bool ends_by_itself() const {
        return query_.to.given() && query_.to.resolve(began_us_) <= moment_.settled_us;
    }

    [[nodiscard]] std::string settled_to() const {
        return moment_.settled_us <= kTimestampMinUs ? "null"
                                                     : "\"" + time_text(moment_.settled_us) + "\"";
    }

    // That nothing will ever be in this page that is not there now, whenever it is asked for.
    [[nodiscard]] bool is_settled() const {
        const bool stands_still =
            query_.has_cursor || (query_.from.kind != QueryTime::Kind::kRelative &&
                                  query_.to.kind != QueryTime::Kind::kRelative);
        if (stopped_early_ || !stands_still) {
            return false;
        }
        return query_.ascending ? full_ || ends_by_itself() : bounds_.to_us <= moment_.settled_us;
    }

    const Query& query_;
    const PageMoment& moment_;
    int64_t began_us_;
    TimeRange bounds_;

    std::string rows_;
    uint32_t count_ = 0;
    int64_t last_created_us_ = 0;
    int64_t last_id_ = 0;
    bool full_ = false;  // and there is more
    bool searched_ = false;
    int64_t seen_to_us_ = 0;
    bool stopped_early_ = false;
};

}  // namespace

bool answer_page(PgConnection* connection, const Query& query, const PageMoment& moment,
                 HttpResponse* response) {
    Page page(query, moment);
    if (page.read(connection)) {
        page.write(response);
        return true;
    }
    // Good JSON, and yet nothing that jsonb can hold: \u0000 in a string.
    if (query.contains.given() && connection->error().sqlstate.substr(0, 2) == kDataException) {
        *response = problem_response(
            {400, "bad_parameter", "must be a JSON object without \\u0000"}, "contains");
        return true;
    }
    return false;
}

}  // namespace sluice
