// Percent-encoding, as in paths and query strings.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice {

// %XX decoded into out (at most text.size() bytes); a '+' is a space if form is set.
// Returns the new end, or nullptr for a broken escape.
[[nodiscard]] char* percent_decode(std::string_view text, bool form, char* out) noexcept;

// The one way a value is written in a query string: letters, digits and -._~,:/ stay, all else is
// %XX. At most kPercentFactor bytes for each byte. Returns the new end.
inline constexpr size_t kPercentFactor = 3;
char* percent_encode(std::string_view text, char* out) noexcept;

}  // namespace sluice
