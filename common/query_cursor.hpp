// Where a walk through pages stands: a word for the client to give back, which means nothing to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

struct QueryCursor {
    // Behind this row, in the order of the walk; there need not be such a row.
    int64_t created_at_us = 0;
    int64_t id = 0;
    // When the walk began: what relative times are relative to, so that its bounds stand still.
    int64_t began_us = 0;
};

inline constexpr size_t kQueryCursorBytes = 36;
// Letters, digits, - and _. Returns the new end.
char* write_cursor(const QueryCursor& cursor, char* out) noexcept;
[[nodiscard]] bool parse_cursor(std::string_view text, QueryCursor* out) noexcept;

}  // namespace sluice
