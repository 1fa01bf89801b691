// A code point as UTF-8.
#pragma once

#include <cstdint>
#include <string>

namespace sluice {

inline void append_utf8(uint32_t point, std::string* out) {
    if (point < 0x80) {
        out->push_back(static_cast<char>(point));
        return;
    }
    const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    constexpr uint32_t kFirst[] = {0, 0xc0, 0xe0, 0xf0};
    out->push_back(static_cast<char>(kFirst[more] | point >> (6 * more)));
    for (int i = more - 1; i >= 0; --i) {
        out->push_back(static_cast<char>(0x80 | (point >> (6 * i) & 0x3f)));
    }
}

}  // namespace sluice
