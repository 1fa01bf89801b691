// The SQL of one piece of a page: rows of logs within a stretch of time, in the order of the walk.
// All that clients say is in parameters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/query.hpp"
#include "common/timestamp.hpp"

namespace sluice {

// Half open; as wide as what can be written as a timestamp.
struct TimeRange {
    int64_t from_us = kTimestampMinUs;
    int64_t to_us = kTimestampEndUs - 1;

    [[nodiscard]] bool empty() const noexcept { return from_us >= to_us; }
};

// Downwards, also before 1970.
[[nodiscard]] constexpr int64_t floor_to(int64_t time_us, int64_t unit_us) noexcept {
    const int64_t rest = time_us % unit_us;
    return time_us - (rest < 0 ? rest + unit_us : rest);
}

enum PageColumn : int {
    kPageId,
    kPageDevice,
    kPageLevel,
    kPageMessage,
    kPageData,
    kPageCreatedUs,
    kPageEventUs
};

struct PageSql {
    std::string text;
    std::vector<std::string> values;
};

// Of the query's offset nothing is used but what is given here.
[[nodiscard]] PageSql page_sql(const Query& query, const TimeRange& range, uint32_t limit,
                               uint32_t offset);

// How many of these rows there are, counted up to most.
[[nodiscard]] PageSql count_sql(const Query& query, const TimeRange& range, uint32_t most);

// {DEBUG,ERROR}, of all levels if the mask is 0.
[[nodiscard]] std::string levels_array(uint8_t levels);

}  // namespace sluice
