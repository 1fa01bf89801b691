#include "daemon/commands/human.hpp"

#include <langinfo.h>

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace sluice {
namespace {

std::string formatted(const char* format, double number, const char* unit) {
    char text[64];
    snprintf(text, sizeof text, format, number, unit);
    return text;
}

// Characters, not bytes: good enough for columns.
size_t width_of(const std::string& text) {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }));
}

struct Decoded {
    uint32_t code = 0;
    size_t bytes = 0;  // 0: no character of UTF-8 begins here
};

Decoded decode(std::string_view text) {
    const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    const size_t bytes = first < 0x80             ? 1
                         : (first & 0xe0) == 0xc0 ? 2
                         : (first & 0xf0) == 0xe0 ? 3
                         : (first & 0xf8) == 0xf0 ? 4
                                                  : 0;
    if (bytes == 0 || bytes > text.size()) {
        return {};
    }
    static constexpr uint32_t kFirstBits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code = first & kFirstBits[bytes];
    for (size_t i = 1; i < bytes; ++i) {
        if ((byte(i) & 0xc0) != 0x80) {
            return {};
        }
        code = code << 6 | (byte(i) & 0x3f);
    }
    if (code < kLeast[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return {};
    }
    return {code, bytes};
}

// Controls (C0, DEL, C1), and what is invisible or moves others: marks and isolates of direction,
// zero widths, separators of lines, tags.
bool is_visible(uint32_t code) {
    static constexpr uint32_t kHidden[][2] = {{0x0000, 0x001f}, {0x007f, 0x009f},  {0x00ad, 0x00ad},
                                              {0x061c, 0x061c}, {0x180e, 0x180e},  {0x200b, 0x200f},
                                              {0x2028, 0x202e}, {0x2060, 0x206f},  {0xfeff, 0xfeff},
                                              {0xfff9, 0xfffb}, {0xe0000, 0xe0fff}};
    return std::none_of(std::begin(kHidden), std::end(kHidden),
                        [code](const auto& range) { return code >= range[0] && code <= range[1]; });
}

}  // namespace

std::string human_count(uint64_t n) {
    std::string text = std::to_string(n);
    for (size_t at = text.size(); at > 3; at -= 3) {
        text.insert(at - 3, ",");
    }
    return text;
}

std::string human_bytes(uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
    auto number = static_cast<double>(bytes);
    size_t unit = 0;
    // What would be shown as 1024 is one of the next unit.
    while (number >= 1023.95 && unit + 1 < std::size(kUnits)) {
        number /= 1024;
        ++unit;
    }
    return formatted(unit == 0 || number >= 99.95 ? "%.0f %s" : "%.1f %s", number, kUnits[unit]);
}

std::string human_seconds(double seconds) {
    if (seconds < 9.95) {
        return formatted("%.1f %s", std::max(seconds, 0.0), "s");
    }
    // Beyond that a number that nobody reads as one.
    const double bounded = std::min(seconds, 86400.0 * 36500);
    const auto whole = static_cast<uint64_t>(std::llround(bounded));
    const auto two = [](uint64_t large, const char* large_unit, uint64_t small,
                        const char* small_unit) {
        return std::to_string(large) + " " + large_unit + " " + std::to_string(small) + " " +
               small_unit;
    };
    if (whole < 60) {
        return std::to_string(whole) + " s";
    }
    if (whole < 3600) {
        return two(whole / 60, "min", whole % 60, "s");
    }
    if (whole < 2 * 86400) {
        return two(whole / 3600, "h", whole % 3600 / 60, "min");
    }
    return two(whole / 86400, "d", whole % 86400 / 3600, "h");
}

std::string printable(std::string_view text, bool utf8) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string shown;
    while (!text.empty()) {
        const Decoded decoded = decode(text);
        const bool plain = decoded.bytes == 1 || (decoded.bytes > 1 && utf8);
        const size_t bytes = std::max<size_t>(decoded.bytes, 1);
        if (text[0] == '\\') {
            shown.append("\\\\");
        } else if (plain && is_visible(decoded.code)) {
            shown.append(text.substr(0, bytes));
        } else {
            for (const char c : text.substr(0, bytes)) {
                const auto byte = static_cast<unsigned char>(c);
                shown.append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
            }
        }
        text.remove_prefix(bytes);
    }
    return shown;
}

std::string one_line(std::string_view text, bool utf8) {
    std::string line;
    for (const char c : text) {
        const bool is_space = c == '\n' || c == '\r' || c == '\t' || c == ' ';
        if (!is_space || (!line.empty() && line.back() != ' ')) {
            line.push_back(is_space ? ' ' : c);
        }
    }
    return printable(line, utf8);
}

bool terminal_reads_utf8() {
    setlocale(LC_CTYPE, "");
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

std::string Table::text() const {
    std::vector<size_t> widths(rows_.front().size());
    for (const auto& row : rows_) {
        for (size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], width_of(row[i]));
        }
    }
    std::string text;
    for (const auto& row : rows_) {
        for (size_t i = 0; i < row.size(); ++i) {
            const std::string space(widths[i] - width_of(row[i]), ' ');
            const bool right = i < numeric_.size() && numeric_[i];
            const bool last = i + 1 == row.size();
            text.append(right ? space : "").append(row[i]);
            text.append(right || last ? "" : space).append(last ? "\n" : "  ");
        }
    }
    return text;
}

}  // namespace sluice
