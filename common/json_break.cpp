#include "common/json_break.hpp"

namespace sluice {
namespace {

// Of the character that text begins with; 0 if that is none.
size_t utf8_character_bytes(std::string_view text) {
    const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) {
        return 1;
    }
    // 0xc0 and 0xc1 would be overlong, what follows 0xf4 is beyond U+10FFFF.
    const size_t bytes = first < 0xc2 || first > 0xf4 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (bytes == 0 || text.size() < bytes) {
        return 0;
    }
    // Neither overlong, nor a surrogate, nor beyond U+10FFFF.
    const unsigned char lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const unsigned char highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (byte(1) < lowest || byte(1) > highest) {
        return 0;
    }
    for (size_t i = 2; i < bytes; i++) {
        if ((byte(i) & 0xc0) != 0x80) {
            return 0;
        }
    }
    return bytes;
}

}  // namespace

size_t find_bad_utf8(std::string_view text) noexcept {
    size_t at = 0;
    while (at < text.size()) {
        const size_t bytes = utf8_character_bytes(text.substr(at));
        if (bytes == 0) {
            break;
        }
        at += bytes;
    }
    return at;
}

BrokenString find_broken_string(std::string_view text) noexcept {
    size_t begin = text.size();
    bool inside = false;
    for (size_t i = 0; i < text.size(); i++) {
        const char c = text[i];
        if (c == '"') {
            inside = !inside;
            begin = inside ? i : text.size();
        } else if (c == '\\' && i + 1 < text.size() &&
                   (text[i + 1] == '"' || text[i + 1] == '\\')) {
            i++;  // outside of strings too: the index takes it for an escape everywhere
        } else if (inside && static_cast<unsigned char>(c) < 0x20) {
            return {begin, i};
        }
    }
    return {begin, text.size()};
}

}  // namespace sluice
