// Whole numbers in text that people write: query strings and URLs.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

// Digits only, at most nine of them, and not above max.
[[nodiscard]] inline bool parse_decimal(std::string_view text, uint32_t max,
                                        uint32_t* out) noexcept {
    if (text.empty() || text.size() > 9) {
        return false;
    }
    uint32_t value = 0;
    for (char c : text) {
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + static_cast<uint32_t>(c - '0');
    }
    *out = value;
    return value <= max;
}

}  // namespace sluice
