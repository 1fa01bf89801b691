#include "common/json_text.hpp"

#include <algorithm>

namespace sluice {

char* json_escape(std::string_view text, char* out) noexcept {
    static constexpr char hex[] = "0123456789abcdef";
    for (char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && c != '"' && c != '\\') {
            *out++ = c;
            continue;
        }
        *out++ = '\\';
        switch (c) {
            case '"':
            case '\\':
                *out++ = c;
                break;
            case '\n':
                *out++ = 'n';
                break;
            case '\r':
                *out++ = 'r';
                break;
            case '\t':
                *out++ = 't';
                break;
            case '\b':
                *out++ = 'b';
                break;
            case '\f':
                *out++ = 'f';
                break;
            default:
                *out++ = 'u';
                *out++ = '0';
                *out++ = '0';
                *out++ = hex[byte >> 4];
                *out++ = hex[byte & 15];
        }
    }
    return out;
}

std::string_view json_excerpt(std::string_view json, size_t offset, size_t bytes_max) noexcept {
    const std::string_view rest = json.substr(std::min(offset, json.size()));
    size_t end = 0;
    if (!rest.empty() && rest.front() == '"') {
        for (end = 1; end < rest.size() && rest[end] != '"'; end++) {
            end += rest[end] == '\\' ? 1 : 0;
        }
        end++;
    } else if (!rest.empty() && rest.front() != '{' && rest.front() != '[') {
        end = rest.find_first_of(",]} \t\r\n");
    } else {
        end = rest.size();
    }
    end = std::min({end, rest.size(), bytes_max});
    while (end > 0 && end < rest.size() && (static_cast<unsigned char>(rest[end]) & 0xc0) == 0x80) {
        end--;
    }
    return rest.substr(0, end);
}

}  // namespace sluice
