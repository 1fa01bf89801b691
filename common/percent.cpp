#include "common/percent.hpp"

namespace sluice {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool stays(char c) {
    const char lower = static_cast<char>(c | 0x20);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~,:/").find(c) != std::string_view::npos;
}

}  // namespace

char* percent_decode(std::string_view text, bool form, char* out) noexcept {
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] == '+' && form) {
            *out++ = ' ';
            continue;
        }
        if (text[i] != '%') {
            *out++ = text[i];
            continue;
        }
        if (text.size() - i < 3) {
            return nullptr;
        }
        const int high = hex_digit(text[i + 1]);
        const int low = hex_digit(text[i + 2]);
        if (high < 0 || low < 0) {
            return nullptr;
        }
        *out++ = static_cast<char>(high << 4 | low);
        i += 2;
    }
    return out;
}

char* percent_encode(std::string_view text, char* out) noexcept {
    static constexpr char kHex[] = "0123456789ABCDEF";
    for (const char c : text) {
        if (stays(c)) {
            *out++ = c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            *out++ = '%';
            *out++ = kHex[byte >> 4];
            *out++ = kHex[byte & 15];
        }
    }
    return out;
}

}  // namespace sluice
