// The query string of the read endpoints, checked: one parser for whoever needs to know what is
// asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/record_rules.hpp"

namespace sluice {

inline constexpr uint32_t kQueryLimitDefault = 100;
inline constexpr uint32_t kQueryLimitMax = 1000;
inline constexpr uint32_t kQueryOffsetMax = 100000;

struct LogQuery {
    uint32_t limit = kQueryLimitDefault;
    uint32_t offset = 0;
    uint8_t levels = 0;  // a bit a Level; 0 = all
    char device_id[kDeviceIdBytesMax];
    uint8_t device_id_bytes = 0;  // 0 = all devices
};

struct QueryError {
    std::string_view parameter;  // as it stands in the query string
    const char* code;            // stable
    const char* rule;            // what would have been right
};

// args is what follows the '?', undecoded. Unknown and repeated parameters are errors.
[[nodiscard]] bool parse_log_query(std::string_view args, LogQuery* out,
                                   QueryError* error) noexcept;

// %XX decoded into out (at most text.size() bytes); a '+' is a space if form is set.
// Returns the new end, or nullptr for a broken escape.
char* percent_decode(std::string_view text, bool form, char* out) noexcept;

}  // namespace sluice
