#include "daemon/serve/page_walk.hpp"

#include <algorithm>

#include "daemon/clock.hpp"
#include "daemon/serve/windows.hpp"

namespace sluice {
namespace {

// Smaller than every row's, so that a cursor with it stands in front of all rows of its time.
constexpr int64_t kBeforeAllIds = INT64_MIN;

bool ask(PgConnection* connection, const PageSql& sql, const PgConnection::OnRow& on_row) {
    std::vector<const char*> values;
    for (const std::string& value : sql.values) {
        values.push_back(value.c_str());
    }
    return connection->query_rows(sql.text.c_str(), values, on_row);
}

}  // namespace

PageWalk::PageWalk(const Query& query, const PageMoment& moment)
    : query_(query),
      moment_(moment),
      began_us_(query.has_cursor ? query.cursor.began_us : moment.now_us),
      bounds_(bounds()),
      left_out_(query.offset) {}

// Where rows can be that this walk, or one behind it, may show.
TimeRange PageWalk::bounds() const {
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

bool PageWalk::read(PgConnection* connection, uint32_t rows, const OnRow& on_row) {
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
        const uint32_t found_before = count_;
        if (!read_window(connection, window, rows - count_, on_row)) {
            // What was found is worth more than an error: the next one goes on there.
            stopped_early_ = searched_ && connection->error().sqlstate == kQueryCancelled;
            within_window_ = count_ > found_before;
            return stopped_early_;
        }
        windows.took(steady_us() - began_at_us);
        seen_to_us_ = query_.ascending ? window.to_us : window.from_us;
        searched_ = query_.text.given() || query_.contains.given();
    }
    return true;
}

bool PageWalk::read_window(PgConnection* connection, const TimeRange& window, uint32_t wanted,
                           const OnRow& on_row) {
    const uint32_t most = count_ + wanted;
    bool any = false;
    const auto take = [&](const PgRows& row) {
        any = true;
        full_ = count_ == most || enough_;
        if (!full_) {
            on_row(row, 0);
            ++count_;
            last_created_us_ = row.integer(0, kPageCreatedUs);
            last_id_ = row.integer(0, kPageId);
        }
        return !full_;
    };
    // One more tells whether there is more.
    if (!ask(connection, page_sql(query_, window, wanted + 1, left_out_), take)) {
        return false;
    }
    if (any || left_out_ == 0) {
        left_out_ = 0;
        return true;
    }
    const auto subtract = [this](const PgRows& row) {
        left_out_ -= static_cast<uint32_t>(row.integer(0, 0));
        return true;
    };
    return ask(connection, count_sql(query_, window, left_out_), subtract);
}

std::optional<QueryCursor> PageWalk::next() const {
    QueryCursor cursor{0, kBeforeAllIds, began_us_};
    if (full_ || within_window_) {
        cursor.created_at_us = last_created_us_;
        cursor.id = last_id_;
    } else if (stopped_early_) {
        cursor.created_at_us = seen_to_us_;
    } else if (!query_.ascending || ends_by_itself()) {
        return std::nullopt;
    } else {
        // All that is settled has been seen: what comes then is behind this.
        cursor.created_at_us = std::max(bounds_.from_us, bounds_.to_us);
        if (bounds_.empty() && query_.has_cursor) {
            cursor.id = query_.cursor.id;
        }
    }
    return cursor;
}

// A walk forwards to a time that is settled.
bool PageWalk::ends_by_itself() const {
    return query_.to.given() && query_.to.resolve(began_us_) <= moment_.settled_us;
}

bool PageWalk::is_settled() const {
    const bool stands_still =
        query_.has_cursor || (query_.from.kind != QueryTime::Kind::kRelative &&
                              query_.to.kind != QueryTime::Kind::kRelative);
    if (stopped_early_ || !stands_still) {
        return false;
    }
    return query_.ascending ? full_ || ends_by_itself() : bounds_.to_us <= moment_.settled_us;
}

}  // namespace sluice
