// Where a document broke that the index refuses: simdjson's first stage says that it did, and not
// where. Only who sent such a document waits for it to be gone over again, byte by byte.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice {

// The first character that is not UTF-8; the size of the text if all of them are.
[[nodiscard]] size_t find_bad_utf8(std::string_view text) noexcept;

// The first string that is not closed or holds a raw control character.
struct BrokenString {
    size_t begin;  // its opening quote; the size of the text if there is no such string
    size_t broke;  // the control character, or the size of the text
};
[[nodiscard]] BrokenString find_broken_string(std::string_view text) noexcept;

}  // namespace sluice
