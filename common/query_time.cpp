#include "common/query_time.hpp"

#include <charconv>
#include <cstring>

#include "common/decimal.hpp"
#include "common/timestamp.hpp"

namespace sluice {
namespace {

constexpr int64_t kSecondUs = 1000 * 1000;

struct Unit {
    char letter;
    uint32_t seconds;
};
// Largest first.
constexpr Unit kUnits[] = {{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
constexpr uint32_t kAgoSecondsMax = 3650U * 86400;

constexpr uint32_t kSteps[] = {60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400};

uint32_t unit_seconds(char letter) {
    for (const Unit& unit : kUnits) {
        if (unit.letter == letter) {
            return unit.seconds;
        }
    }
    return 0;
}

// 15m, without the sign.
bool parse_duration(std::string_view text, uint32_t* seconds) {
    uint32_t number = 0;
    const uint32_t unit = text.empty() ? 0 : unit_seconds(text.back());
    if (unit == 0 ||
        !parse_decimal(text.substr(0, text.size() - 1), kAgoSecondsMax / unit, &number)) {
        return false;
    }
    *seconds = number * unit;
    return true;
}

char* write_duration(uint32_t seconds, char* out) {
    // Weeks only to be read: a day is what people write.
    const Unit* unit = kUnits + 1;
    while (seconds % unit->seconds != 0) {
        ++unit;
    }
    out = std::to_chars(out, out + 10, seconds / unit->seconds).ptr;
    *out++ = unit->letter;
    return out;
}

bool parse_calendar(std::string_view text, int64_t* us) {
    constexpr std::string_view kMidnight = "T00:00:00Z";
    constexpr size_t kDateBytes = 10;
    constexpr size_t kOffsetBytes = 6;
    char copy[64];
    if (text.size() + kMidnight.size() > sizeof copy || text.size() < kDateBytes) {
        return false;
    }
    size_t size = text.size();
    std::memcpy(copy, text.data(), size);
    if (size == kDateBytes) {
        std::memcpy(copy + size, kMidnight.data(), kMidnight.size());
        size += kMidnight.size();
    } else if (copy[size - kOffsetBytes] == ' ') {
        copy[size - kOffsetBytes] = '+';
    }
    return parse_rfc3339({copy, size}, us);
}

}  // namespace

bool parse_query_time(std::string_view text, QueryTime* out) noexcept {
    if (text.empty()) {
        return false;
    }
    if (text.front() == '-') {
        uint32_t seconds = 0;
        if (!parse_duration(text.substr(1), &seconds)) {
            return false;
        }
        *out = {QueryTime::Kind::kRelative, seconds * kSecondUs};
        return true;
    }
    int64_t us = 0;
    const bool digit = text.front() >= '0' && text.front() <= '9';
    if (!digit || (!parse_calendar(text, &us) && !parse_epoch(text, &us))) {
        return false;
    }
    *out = {QueryTime::Kind::kAbsolute, us};
    return true;
}

char* write_query_time(const QueryTime& time, char* out) noexcept {
    if (time.kind == QueryTime::Kind::kAbsolute) {
        return format_timestamp(time.us, out);
    }
    *out++ = '-';
    return write_duration(static_cast<uint32_t>(time.us / kSecondUs), out);
}

bool parse_step(std::string_view text, uint32_t* seconds) noexcept {
    if (!parse_duration(text, seconds)) {
        return false;
    }
    for (const uint32_t step : kSteps) {
        if (step == *seconds) {
            return true;
        }
    }
    return false;
}

char* write_step(uint32_t seconds, char* out) noexcept {
    return write_duration(seconds, out);
}

uint32_t step_for(int64_t duration_us, uint32_t steps_max) noexcept {
    for (const uint32_t step : kSteps) {
        if (duration_us / (step * kSecondUs) <= steps_max) {
            return step;
        }
    }
    return kSteps[sizeof kSteps / sizeof kSteps[0] - 1];
}

}  // namespace sluice
