// A walk through the logs that a query asks for, from where it says, until so many rows were seen,
// there are no more, or it has taken too long. Where it has come to, another one goes on.
#pragma once

#include <functional>
#include <optional>

#include "common/query.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/serve/page_sql.hpp"

namespace sluice {

struct PageMoment {
    int64_t now_us = 0;           // since 1970
    int64_t settled_us = 0;       // rows older than this are all there
    int64_t search_until_us = 0;  // by the steady clock: a search goes no further
};

class PageWalk {
  public:
    using OnRow = std::function<void(const PgRows& rows, int row)>;  // columns: PageColumn

    PageWalk(const Query& query, const PageMoment& moment);

    // False if Postgres did not answer; the connection's error() says why.
    [[nodiscard]] bool read(PgConnection* connection, uint32_t rows, const OnRow& on_row);
    // For on_row: no row behind this one is wanted.
    void enough() noexcept { enough_ = true; }

    [[nodiscard]] uint32_t count() const noexcept { return count_; }
    [[nodiscard]] bool stopped_early() const noexcept { return stopped_early_; }
    // There is, or may be, more behind what was seen, by now.
    [[nodiscard]] bool has_more() const noexcept { return full_ || stopped_early_; }
    // Where the next one begins; none if nothing will ever be there. A walk forwards that has seen
    // all that is settled has one, and no more by now.
    [[nodiscard]] std::optional<QueryCursor> next() const;
    // That nothing will ever be in this walk that is not there now, whenever it is begun.
    [[nodiscard]] bool is_settled() const;

  private:
    [[nodiscard]] TimeRange bounds() const;
    [[nodiscard]] bool read_window(PgConnection* connection, const TimeRange& window,
                                   uint32_t wanted, const OnRow& on_row);
    [[nodiscard]] bool ends_by_itself() const;

    const Query& query_;
    const PageMoment& moment_;
    int64_t began_us_;
    TimeRange bounds_;
    uint32_t left_out_;  // of the query's offset, in what comes

    uint32_t count_ = 0;
    int64_t last_created_us_ = 0;
    int64_t last_id_ = 0;
    bool enough_ = false;
    bool full_ = false;  // and there is more
    bool searched_ = false;
    int64_t seen_to_us_ = 0;
    bool stopped_early_ = false;
    bool within_window_ = false;  // ... behind the last row
};

}  // namespace sluice
