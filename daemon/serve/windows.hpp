// Cuts the time that a page is looked for in into windows, from where the walk begins onwards, so
// that no query touches more than it has to. The counters say where there are rows at all.
//
// Where an index finds exactly the rows that are wanted, a window is some days, each of which is a
// partition: two, four, ... up to 64. A search has to look at every row instead: there a window is
// so many rows as can be looked at in good time.
#pragma once

#include <cstdint>
#include <deque>

#include "common/query.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/serve/page_sql.hpp"

namespace sluice {

class Windows {
  public:
    Windows(PgConnection* connection, const Query& query, TimeRange bounds, int64_t now_us);

    enum class Next : uint8_t { kWindow, kEnd, kFailed };
    // Windows follow each other without overlap, but for gaps in which there is nothing.
    [[nodiscard]] Next next(TimeRange* window);
    // How long the last one took.
    void took(int64_t us) noexcept;

  private:
    // A minute or a day that has rows.
    struct Bucket {
        int64_t start_us;
        double weight;
    };

    [[nodiscard]] bool first_window(TimeRange* window);
    [[nodiscard]] bool fetch();
    void take_buckets(TimeRange* window);
    [[nodiscard]] TimeRange clipped(const Bucket& bucket) const noexcept;

    PgConnection* connection_;
    bool ascending_;
    bool search_;
    std::string levels_;
    TimeRange left_;  // of the bounds
    int64_t now_us_;
    bool begun_ = false;
    bool all_fetched_ = false;
    double target_;  // of the next window
    std::deque<Bucket> buckets_;
};

}  // namespace sluice
