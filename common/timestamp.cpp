#include "common/timestamp.hpp"

namespace sluice {
namespace {

constexpr int64_t kSecondUs = 1000000;
constexpr int64_t kDayUs = 86400 * kSecondUs;

// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in eras of 400
// years that begin in March, so that the leap day comes last.
constexpr int64_t days_from_date(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2 ? 1 : 0;
    const int64_t era = (year >= 0 ? year : year - 399) / 400;
    const auto year_of_era = static_cast<unsigned>(year - era * 400);
    const unsigned day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    const unsigned day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

struct Date {
    int64_t year;
    unsigned month, day;
};

constexpr Date date_from_days(int64_t days) {
    days += 719468;
    const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    const auto day_of_era = static_cast<unsigned>(days - era * 146097);
    const unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const unsigned day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const unsigned shifted = (5 * day_of_year + 2) / 153;
    const unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
    return {static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month,
            day_of_year - (153 * shifted + 2) / 5 + 1};
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

char* write_digits(unsigned value, unsigned digits, char* out) {
    for (unsigned i = digits; i-- > 0;) {
        out[i] = static_cast<char>('0' + value % 10);
        value /= 10;
    }
    return out + digits;
}

// Reads exactly the given number of digits at the front of text and takes them off.
bool take_digits(std::string_view* text, unsigned digits, unsigned* value) {
    if (text->size() < digits) {
        return false;
    }
    *value = 0;
    for (unsigned i = 0; i < digits; i++) {
        if (!is_digit((*text)[i])) {
            return false;
        }
        *value = *value * 10 + static_cast<unsigned>((*text)[i] - '0');
    }
    text->remove_prefix(digits);
    return true;
}

bool take(std::string_view* text, char c) {
    if (text->empty() || text->front() != c) {
        return false;
    }
    text->remove_prefix(1);
    return true;
}

unsigned days_of_month(unsigned year, unsigned month) {
    static constexpr unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

// The digits behind a point, as microseconds; more than six are cut. False if there are none.
bool take_fraction(std::string_view* text, int64_t* us) {
    int64_t unit = kSecondUs;
    *us = 0;
    size_t n = 0;
    for (; n < text->size() && is_digit((*text)[n]); n++) {
        unit /= 10;
        *us += unit * ((*text)[n] - '0');
    }
    text->remove_prefix(n);
    return n > 0;
}

bool take_offset(std::string_view* text, int64_t* offset_us) {
    *offset_us = 0;
    if (take(text, 'Z') || take(text, 'z')) {
        return true;
    }
    const bool west = take(text, '-');
    if (!west && !take(text, '+')) {
        return false;
    }
    unsigned hours = 0, minutes = 0;
    if (!take_digits(text, 2, &hours) || !take(text, ':') || !take_digits(text, 2, &minutes) ||
        hours > 23 || minutes > 59) {
        return false;
    }
    *offset_us = (hours * 3600 + minutes * 60) * kSecondUs * (west ? -1 : 1);
    return true;
}

bool in_range(int64_t us) {
    return us >= kTimestampMinUs && us < kTimestampEndUs;
}

}  // namespace

char* format_timestamp(int64_t epoch_us, char* out) noexcept {
    int64_t days = epoch_us / kDayUs;
    int64_t rest = epoch_us % kDayUs;
    if (rest < 0) {
        rest += kDayUs;
        days--;
    }
    const Date date = date_from_days(days);
    const auto seconds = static_cast<unsigned>(rest / kSecondUs);
    out = write_digits(static_cast<unsigned>(date.year), 4, out);
    *out++ = '-';
    out = write_digits(date.month, 2, out);
    *out++ = '-';
    out = write_digits(date.day, 2, out);
    *out++ = 'T';
    out = write_digits(seconds / 3600, 2, out);
    *out++ = ':';
    out = write_digits(seconds / 60 % 60, 2, out);
    *out++ = ':';
    out = write_digits(seconds % 60, 2, out);
    *out++ = '.';
    out = write_digits(static_cast<unsigned>(rest % kSecondUs), 6, out);
    *out++ = 'Z';
    return out;
}

bool parse_rfc3339(std::string_view text, int64_t* epoch_us) noexcept {
    unsigned year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    if (!take_digits(&text, 4, &year) || !take(&text, '-') || !take_digits(&text, 2, &month) ||
        !take(&text, '-') || !take_digits(&text, 2, &day)) {
        return false;
    }
    if (!take(&text, 'T') && !take(&text, 't') && !take(&text, ' ')) {
        return false;
    }
    if (!take_digits(&text, 2, &hour) || !take(&text, ':') || !take_digits(&text, 2, &minute) ||
        !take(&text, ':') || !take_digits(&text, 2, &second)) {
        return false;
    }
    int64_t fraction_us = 0;
    if (take(&text, '.') && !take_fraction(&text, &fraction_us)) {
        return false;
    }
    int64_t offset_us = 0;
    if (!take_offset(&text, &offset_us) || !text.empty()) {
        return false;
    }
    if (year == 0 || month == 0 || month > 12 || day == 0 || day > days_of_month(year, month) ||
        hour > 23 || minute > 59 || second > 60) {
        return false;
    }
    const int64_t seconds =
        days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *epoch_us = seconds * kSecondUs + fraction_us - offset_us;
    return in_range(*epoch_us);
}

bool parse_epoch(std::string_view number, int64_t* epoch_us) noexcept {
    const bool negative = take(&number, '-');
    size_t n = 0;
    uint64_t whole = 0;
    // 19 digits hold every nanosecond until the year 2286 and cannot overflow 64 bits.
    for (; n < number.size() && n < 19 && is_digit(number[n]); n++) {
        whole = whole * 10 + static_cast<uint64_t>(number[n] - '0');
    }
    if (n == 0) {
        return false;
    }
    number.remove_prefix(n);
    std::string_view fraction;
    if (take(&number, '.')) {
        fraction = number;
    } else if (!number.empty()) {
        return false;
    }
    for (char c : fraction) {
        if (!is_digit(c)) {
            return false;
        }
    }

    int64_t us = 0;
    // How many digits of the fraction still count: a unit's powers of ten above a microsecond.
    unsigned fraction_digits = 0;
    if (whole < 100000000000) {
        us = static_cast<int64_t>(whole) * kSecondUs;
        fraction_digits = 6;
    } else if (whole < 100000000000000) {
        us = static_cast<int64_t>(whole) * 1000;
        fraction_digits = 3;
    } else if (whole < 100000000000000000) {
        us = static_cast<int64_t>(whole);
    } else {
        us = static_cast<int64_t>(whole / 1000);
    }
    int64_t unit = 1;
    for (unsigned i = 0; i < fraction_digits; i++) {
        unit *= 10;
    }
    for (size_t i = 0; i < fraction.size() && i < fraction_digits; i++) {
        unit /= 10;
        us += unit * (fraction[i] - '0');
    }
    *epoch_us = negative ? -us : us;
    return in_range(*epoch_us);
}

}  // namespace sluice
