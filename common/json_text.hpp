// Text written into JSON documents.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice {

// The inside of a JSON string, without the quotes. At most six bytes for each byte; bytes above
// 0x7f pass as they are, so give it UTF-8. Returns the new end.
inline constexpr size_t kJsonEscapeFactor = 6;
char* json_escape(std::string_view text, char* out) noexcept;

}  // namespace sluice
