// The insides of JSON tokens: numbers, literals, and strings with their escapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/record_rules.hpp"

namespace sluice {

// The number or literal (true, false, null) that begins at p; *end_out is just behind it.
// kMalformedJson if it is neither, or runs into something that cannot follow it.
[[nodiscard]] Refusal check_scalar(const char* p, const char* end, const char** end_out) noexcept;

// The inside of a string whose quotes are already known, decoded into COPY text. NUL becomes
// U+FFFD and is counted in *nuls. Writes at most twice inside.size() bytes.
struct DecodedText {
    char* end;            // behind what was written
    size_t bytes;         // of the decoded text, before COPY's escapes
    bool control;         // it holds a control character (C0, DEL or C1)
    const char* failed;   // where a refusal was met
    Refusal refusal;
};
[[nodiscard]] DecodedText decode_string(std::string_view inside, char* out,
                                        uint32_t* nuls) noexcept;

// A whole JSON value, whose tokens were checked, as COPY text: its bytes stay, but for the
// backslashes that COPY wants doubled, white space that COPY would take for the end of a column
// or row, and \u0000, which becomes \ufffd. Escapes inside strings are checked on the way.
[[nodiscard]] DecodedText copy_json(std::string_view value, char* out, uint32_t* nuls) noexcept;

// Only the check, for strings that are not stored.
[[nodiscard]] Refusal check_string(std::string_view inside, const char** failed) noexcept;

}  // namespace sluice
