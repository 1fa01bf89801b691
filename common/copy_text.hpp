// PostgreSQL's COPY text form: columns end with a tab, rows with a newline, backslash escapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

inline constexpr std::string_view kCopyNull = "\\N";
// U+FFFD: what becomes of a NUL, which Postgres cannot store.
inline constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// Writes text as a COPY column value. At most two bytes for each byte; returns the new end.
char* copy_escape(std::string_view text, char* out) noexcept;

// A single character, for text that is decoded on the way.
inline char* copy_escape_char(char c, char* out) noexcept {
    switch (c) {
        case '\\':
            *out++ = '\\';
            *out++ = '\\';
            break;
        case '\n':
            *out++ = '\\';
            *out++ = 'n';
            break;
        case '\r':
            *out++ = '\\';
            *out++ = 'r';
            break;
        case '\t':
            *out++ = '\\';
            *out++ = 't';
            break;
        default:
            *out++ = c;
    }
    return out;
}

}  // namespace sluice
