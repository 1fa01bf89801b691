// Points in time as text: RFC 3339 in UTC, and the forms in which clients send their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

// "2024-11-14T10:30:00.123456Z": what every answer uses, and PostgreSQL reads as it is.
inline constexpr size_t kTimestampBytes = 27;
// 0001-01-01 and the first microsecond after 9999-12-31: what four digits of year can say.
inline constexpr int64_t kTimestampMinUs = -62135596800LL * 1000 * 1000;
inline constexpr int64_t kTimestampEndUs = 253402300800LL * 1000 * 1000;
char* format_timestamp(int64_t epoch_us, char* out) noexcept;

// RFC 3339 with an offset or Z ('t', 'z' and a space for the T are accepted, fractions are cut
// to microseconds, a leap second becomes the next second). Years 0001 to 9999.
[[nodiscard]] bool parse_rfc3339(std::string_view text, int64_t* epoch_us) noexcept;

// A JSON number since 1970 in s, ms, us or ns; its magnitude tells the unit: below 1e11 seconds
// (year 5138), below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds. Kept exact to
// the microsecond, without a trip through double. An exponent is not a timestamp.
[[nodiscard]] bool parse_epoch(std::string_view number, int64_t* epoch_us) noexcept;

}  // namespace sluice
