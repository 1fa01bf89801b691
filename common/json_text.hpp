// Text written into JSON documents.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice {

// The inside of a JSON string, without the quotes. At most six bytes for each byte; bytes above
// 0x7f pass as they are, so give it UTF-8. Returns the new end.
inline constexpr size_t kJsonEscapeFactor = 6;
char* json_escape(std::string_view text, char* out) noexcept;

// For a human: the beginning of the value at offset in JSON that is UTF-8, and no part of a
// character.
[[nodiscard]] std::string_view json_excerpt(std::string_view json, size_t offset,
                                            size_t bytes_max) noexcept;

}  // namespace sluice
