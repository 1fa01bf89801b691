#include "common/json_scalars.hpp"

#include <cstring>

#include "common/copy_text.hpp"

namespace sluice {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// What may stand behind a number or literal.
bool ends_token(const char* p, const char* end) {
    if (p == end) {
        return true;
    }
    switch (*p) {
        case ' ':
        case '\t':
        case '\n':
        case '\r':
        case ',':
        case ':':
        case ']':
        case '}':
            return true;
        default:
            return false;
    }
}

const char* skip_digits(const char* p, const char* end) {
    while (p < end && is_digit(*p)) {
        p++;
    }
    return p;
}

// The part behind 'e' or 'E'; nullptr if it is no exponent.
const char* check_exponent(const char* p, const char* end, bool* in_range) {
    if (p < end && (*p == '+' || *p == '-')) {
        p++;
    }
    const char* digits = p;
    int value = 0;
    for (; p < end && is_digit(*p); p++) {
        if (value <= kNumberExponentMax) {
            value = value * 10 + (*p - '0');
        }
    }
    *in_range = value <= kNumberExponentMax;
    return p == digits ? nullptr : p;
}

Refusal check_number(const char* p, const char* end, const char** end_out) {
    const char* const begin = p;
    bool in_range = true;
    if (*p == '-') {
        p++;
    }
    const char* digits = p;
    p = skip_digits(p, end);
    if (p == digits || (*digits == '0' && p - digits > 1)) {
        return Refusal::kMalformedJson;
    }
    if (p < end && *p == '.') {
        digits = ++p;
        p = skip_digits(p, end);
        if (p == digits) {
            return Refusal::kMalformedJson;
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p = check_exponent(p + 1, end, &in_range);
    }
    if (p == nullptr || !ends_token(p, end)) {
        return Refusal::kMalformedJson;
    }
    *end_out = p;
    if (static_cast<size_t>(p - begin) > kNumberBytesMax) {
        return Refusal::kNumberTooLong;
    }
    return in_range ? Refusal::kNone : Refusal::kNumberOutOfRange;
}

// Four hex digits at p, or -1.
int read_hex4(const char* p, const char* end) {
    if (end - p < 4) {
        return -1;
    }
    int value = 0;
    for (unsigned i = 0; i < 4; i++) {
        const char c = p[i];
        const char lower = static_cast<char>(c | 0x20);
        if (is_digit(c)) {
            value = value * 16 + (c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value * 16 + (lower - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

struct Escape {
    Refusal refusal;
    uint32_t code_point;
    size_t bytes;  // of the escape, its backslash included
};

// The escape whose backslash is at p.
Escape read_escape(const char* p, const char* end) {
    constexpr Escape malformed = {Refusal::kMalformedJson, 0, 0};
    if (end - p < 2) {
        return malformed;
    }
    switch (p[1]) {
        case '"':
        case '\\':
        case '/':
            return {Refusal::kNone, static_cast<uint32_t>(p[1]), 2};
        case 'b':
            return {Refusal::kNone, '\b', 2};
        case 'f':
            return {Refusal::kNone, '\f', 2};
        case 'n':
            return {Refusal::kNone, '\n', 2};
        case 'r':
            return {Refusal::kNone, '\r', 2};
        case 't':
            return {Refusal::kNone, '\t', 2};
        case 'u':
            break;
        default:
            return malformed;
    }
    const int high = read_hex4(p + 2, end);
    if (high < 0) {
        return malformed;
    }
    if (high < 0xd800 || high > 0xdfff) {
        return {Refusal::kNone, static_cast<uint32_t>(high), 6};
    }
    const bool paired = high < 0xdc00 && end - p >= 8 && p[6] == '\\' && p[7] == 'u';
    const int low = paired ? read_hex4(p + 8, end) : 0;
    if (low < 0) {
        return malformed;
    }
    if (low < 0xdc00 || low > 0xdfff) {
        return {Refusal::kLoneSurrogate, 0, 0};
    }
    return {Refusal::kNone,
            0x10000 + (static_cast<uint32_t>(high - 0xd800) << 10) +
                static_cast<uint32_t>(low - 0xdc00),
            12};
}

char* write_utf8(uint32_t c, char* out) {
    if (c < 0x80) {
        return copy_escape_char(static_cast<char>(c), out);
    }
    if (c < 0x800) {
        *out++ = static_cast<char>(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = static_cast<char>(0xe0 | c >> 12);
        } else {
            *out++ = static_cast<char>(0xf0 | c >> 18);
            *out++ = static_cast<char>(0x80 | (c >> 12 & 0x3f));
        }
        *out++ = static_cast<char>(0x80 | (c >> 6 & 0x3f));
    }
    *out++ = static_cast<char>(0x80 | (c & 0x3f));
    return out;
}

size_t utf8_bytes(uint32_t c) {
    return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

char* append(std::string_view text, char* out) {
    std::memcpy(out, text.data(), text.size());
    return out + text.size();
}

const char* find_backslash(const char* p, const char* end) {
    const void* found = std::memchr(p, '\\', static_cast<size_t>(end - p));
    return found == nullptr ? end : static_cast<const char*>(found);
}

constexpr uint64_t ones = 0x0101010101010101;
constexpr uint64_t high_bits = ones * 0x80;

// Whether any of eight bytes is a backslash or above 0x7e.
bool is_not_plain(uint64_t bytes) {
    const uint64_t backslashes = bytes ^ ones * '\\';
    const uint64_t is_backslash = (backslashes - ones) & ~backslashes;
    return ((is_backslash | bytes | (bytes + ones)) & high_bits) != 0;
}

// Whether any of eight bytes is a backslash or below 0x20.
bool needs_care(uint64_t bytes) {
    const uint64_t backslashes = bytes ^ ones * '\\';
    const uint64_t is_backslash = (backslashes - ones) & ~backslashes;
    const uint64_t is_below = (bytes - ones * 0x20) & ~bytes;
    return ((is_backslash | is_below) & high_bits) != 0;
}

}  // namespace

Refusal check_scalar(const char* p, const char* end, const char** end_out) noexcept {
    if (*p == '-' || is_digit(*p)) {
        return check_number(p, end, end_out);
    }
    for (std::string_view literal : {"true", "false", "null"}) {
        const auto left = static_cast<size_t>(end - p);
        if (left >= literal.size() && std::memcmp(p, literal.data(), literal.size()) == 0 &&
            ends_token(p + literal.size(), end)) {
            *end_out = p + literal.size();
            return Refusal::kNone;
        }
    }
    return Refusal::kMalformedJson;
}

CopiedText copy_string(std::string_view inside, char* out, uint32_t* nuls) noexcept {
    const char* p = inside.data();
    const char* const end = p + inside.size();
    CopiedText result = {out, 0, false, Refusal::kNone, nullptr};
    for (;;) {
        const char* backslash = find_backslash(p, end);
        const auto run = static_cast<size_t>(backslash - p);
        out = append(std::string_view(p, run), out);
        result.bytes += run;
        if (backslash == end) {
            result.end = out;
            return result;
        }
        const Escape escape = read_escape(backslash, end);
        if (escape.refusal != Refusal::kNone) {
            result.refusal = escape.refusal;
            result.failed = backslash;
            return result;
        }
        const uint32_t c = escape.code_point;
        result.control |= c < 0x20 || (c >= 0x7f && c <= 0x9f);
        if (c == 0) {
            out = append(kReplacement, out);
            result.bytes += kReplacement.size();
            ++*nuls;
        } else {
            out = write_utf8(c, out);
            result.bytes += utf8_bytes(c);
        }
        p = backslash + escape.bytes;
    }
}

bool copy_plain(std::string_view inside, char* out) noexcept {
    for (size_t i = 0; i < inside.size(); i += 8) {
        uint64_t bytes = 0;
        std::memcpy(&bytes, inside.data() + i, 8);
        std::memcpy(out + i, &bytes, 8);
        const size_t left = inside.size() - i;
        if (left < 8) {
            bytes &= (uint64_t{1} << 8 * left) - 1;  // what stands behind the string does not count
        }
        if (is_not_plain(bytes)) {
            return false;
        }
    }
    return true;
}

CopiedText copy_value(std::string_view value, char* out, uint32_t* nuls) noexcept {
    const char* p = value.data();
    const char* const end = p + value.size();
    while (p < end) {
        uint64_t bytes = 0;
        if (end - p >= 8) {
            std::memcpy(&bytes, p, 8);
            if (!needs_care(bytes)) {
                std::memcpy(out, p, 8);
                out += 8;
                p += 8;
                continue;
            }
        }
        if (*p != '\\') {
            // A control character can only be white space between tokens, where a space will do.
            *out++ = static_cast<unsigned char>(*p) < 0x20 ? ' ' : *p;
            p++;
            continue;
        }
        const Escape escape = read_escape(p, end);
        if (escape.refusal != Refusal::kNone) {
            return {out, value.size(), false, escape.refusal, p};
        }
        if (escape.code_point == 0) {
            out = append("\\\\ufffd", out);
            ++*nuls;
        } else {
            for (size_t i = 0; i < escape.bytes; i++) {
                out = copy_escape_char(p[i], out);
            }
        }
        p += escape.bytes;
    }
    return {out, value.size(), false, Refusal::kNone, nullptr};
}

Refusal check_escapes(std::string_view text, const char** failed) noexcept {
    const char* const end = text.data() + text.size();
    const char* p = find_backslash(text.data(), end);
    while (p != end) {
        const Escape escape = read_escape(p, end);
        if (escape.refusal != Refusal::kNone) {
            *failed = p;
            return escape.refusal;
        }
        p = find_backslash(p + escape.bytes, end);
    }
    return Refusal::kNone;
}

}  // namespace sluice
