// Points in time as people ask for them, and steps between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

struct QueryTime {
    enum class Kind : uint8_t { kNone, kAbsolute, kRelative };

    Kind kind = Kind::kNone;
    int64_t us = 0;  // since 1970; relative: so long ago

    [[nodiscard]] bool given() const noexcept { return kind != Kind::kNone; }
    // Of one that is given.
    [[nodiscard]] int64_t resolve(int64_t now_us) const noexcept {
        return kind == Kind::kRelative ? now_us - us : us;
    }
};

// RFC 3339, also only its date; seconds, milliseconds, microseconds or nanoseconds since 1970; or
// so long ago: -90s, -15m, -2h, -7d, -4w, up to ten years. A space for the offset's '+' is taken,
// as it becomes one in a query string.
[[nodiscard]] bool parse_query_time(std::string_view text, QueryTime* out) noexcept;

// In one way: RFC 3339 in UTC, or in the largest unit that fits.
inline constexpr size_t kQueryTimeBytes = 27;
char* write_query_time(const QueryTime& time, char* out) noexcept;

// 1m, 5m, 10m, 15m, 30m, 1h, 2h, 3h, 6h, 12h or 1d.
[[nodiscard]] bool parse_step(std::string_view text, uint32_t* seconds) noexcept;
char* write_step(uint32_t seconds, char* out) noexcept;
// The smallest of these that cuts so long a time into no more than so many; the largest if none.
[[nodiscard]] uint32_t step_for(int64_t duration_us, uint32_t steps_max) noexcept;

}  // namespace sluice
