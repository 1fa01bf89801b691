// Which form of an answer a client would rather have, by its Accept header (RFC 9110).
#pragma once

#include <string_view>

#include "common/query.hpp"

namespace sluice {

// The type with the highest quality, the first of equals; a page where none of ours is named.
[[nodiscard]] QueryFormat format_accepted(std::string_view accept) noexcept;

}  // namespace sluice
