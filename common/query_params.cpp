#include "common/query_params.hpp"

#include <cstring>

#include "common/decimal.hpp"

namespace sluice {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The level parameter: one or several names, separated by commas.
bool parse_levels(std::string_view text, uint8_t* levels) {
    for (;;) {
        const size_t comma = text.find(',');
        Level level;
        if (!parse_level(text.substr(0, comma), &level)) {
            return false;
        }
        *levels = static_cast<uint8_t>(*levels | 1U << static_cast<unsigned>(level));
        if (comma == std::string_view::npos) {
            return true;
        }
        text.remove_prefix(comma + 1);
    }
}

enum Parameter : unsigned { kLimit, kOffset, kLevel, kDeviceId, kParameterCount };
constexpr std::string_view kParameterNames[kParameterCount] = {"limit", "offset", "level",
                                                               "device_id"};
constexpr const char* kParameterRules[kParameterCount] = {
    "must be a whole number from 1 to 1000",
    "must be a whole number from 0 to 100000",
    "must be one or several of DEBUG, INFO, WARNING, ERROR, CRITICAL, separated by commas",
    "must be 1 to 50 bytes",
};

bool apply(unsigned parameter, std::string_view value, LogQuery* out) {
    switch (parameter) {
        case kLimit:
            return parse_decimal(value, kQueryLimitMax, &out->limit) && out->limit > 0;
        case kOffset:
            return parse_decimal(value, kQueryOffsetMax, &out->offset);
        case kLevel:
            return parse_levels(value, &out->levels);
        default:
            if (value.empty() || value.size() > kDeviceIdBytesMax) {
                return false;
            }
            std::memcpy(out->device_id, value.data(), value.size());
            out->device_id_bytes = static_cast<uint8_t>(value.size());
            return true;
    }
}

bool parse_one(std::string_view pair, unsigned* seen, LogQuery* out, QueryError* error) {
    const size_t equals = pair.find('=');
    const std::string_view name = pair.substr(0, equals);
    unsigned parameter = 0;
    while (parameter < kParameterCount && kParameterNames[parameter] != name) {
        parameter++;
    }
    if (parameter == kParameterCount) {
        *error = {name, "unknown_parameter", "is not a parameter of this endpoint"};
        return false;
    }
    if ((*seen & 1U << parameter) != 0) {
        *error = {name, "duplicate_parameter", "must not be given twice"};
        return false;
    }
    *seen |= 1U << parameter;

    // No parameter takes more decoded than this; each byte is at most three in the query string.
    char decoded[64 * 3];
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    const char* end =
        value.size() <= sizeof(decoded) ? percent_decode(value, true, decoded) : nullptr;
    if (end == nullptr ||
        !apply(parameter, std::string_view(decoded, static_cast<size_t>(end - decoded)), out)) {
        *error = {name, "bad_parameter", kParameterRules[parameter]};
        return false;
    }
    return true;
}

}  // namespace

bool parse_log_query(std::string_view args, LogQuery* out, QueryError* error) noexcept {
    *out = LogQuery();
    unsigned seen = 0;
    while (!args.empty()) {
        const size_t end = args.find('&');
        const std::string_view pair = args.substr(0, end);
        if (!pair.empty() && !parse_one(pair, &seen, out, error)) {
            return false;
        }
        args = end == std::string_view::npos ? std::string_view() : args.substr(end + 1);
    }
    return true;
}

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

}  // namespace sluice
