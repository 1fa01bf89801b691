// The insides of JSON tokens: numbers, literals, and the escapes of strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/record_rules.hpp"

namespace sluice {

// The number or literal (true, false, null) that begins at p; *end_out is just behind it.
// kMalformedJson if it is neither, or runs into something that cannot follow it.
[[nodiscard]] Refusal check_scalar(const char* p, const char* end, const char** end_out) noexcept;

// Text on its way from JSON into a COPY column.
struct CopiedText {
    char* end;           // behind what was written
    size_t bytes;        // of the text itself, before COPY's escapes
    bool control;        // an escape stood for a control character
    Refusal refusal;     // of the first bad escape
    const char* failed;  // where it stands
};

// Both write at most kCopyFactor bytes for each byte of JSON, and may touch kCopySlack more.
inline constexpr size_t kCopyFactor = 2;
inline constexpr size_t kCopySlack = 8;

// The inside of a string, decoded. \u0000 becomes U+FFFD and is counted in *nuls.
[[nodiscard]] CopiedText copy_string(std::string_view inside, char* out, uint32_t* nuls) noexcept;

// The same for a short string that needs no care: no escapes, and only printable ASCII. Reads up to
// kCopySlack bytes behind it. False if it does need care; out may have been written to.
[[nodiscard]] bool copy_plain(std::string_view inside, char* out) noexcept;

// A whole JSON value whose tokens were checked: its bytes stay, but for the backslashes that COPY
// wants doubled, white space that COPY would take for the end of a column or row, and \u0000,
// which becomes \ufffd.
[[nodiscard]] CopiedText copy_value(std::string_view value, char* out, uint32_t* nuls) noexcept;

// Only the check of the escapes in a value or string that is not stored.
[[nodiscard]] Refusal check_escapes(std::string_view text, const char** failed) noexcept;

}  // namespace sluice
