#include "common/timestamp.hpp"

#include <ctime>

#include "t/unit/cmocka.hpp"

using namespace sluice;

static std::string text_of(int64_t epoch_us) {
    char out[kTimestampBytes];
    return {out, static_cast<size_t>(format_timestamp(epoch_us, out) - out)};
}

static void rfc3339_is(std::string_view text, std::string_view expected) {
    int64_t us = 0;
    if (!parse_rfc3339(text, &us)) {
        fail_msg("refused: %s", std::string(text).c_str());
    }
    assert_text_equal(text_of(us), expected);
}

static void epoch_is(std::string_view text, std::string_view expected) {
    int64_t us = 0;
    if (!parse_epoch(text, &us)) {
        fail_msg("refused: %s", std::string(text).c_str());
    }
    assert_text_equal(text_of(us), expected);
}

static void formats(void**) {
    assert_text_equal(text_of(0), "1970-01-01T00:00:00.000000Z");
    assert_text_equal(text_of(1699957800123456), "2023-11-14T10:30:00.123456Z");
    assert_text_equal(text_of(-1), "1969-12-31T23:59:59.999999Z");
}

static void agrees_with_libc_on_every_day(void**) {
    for (int64_t day = -719162; day <= 2932896; day++) {
        const time_t seconds = day * 86400 + 12345;
        tm parts;
        gmtime_r(&seconds, &parts);
        char expected[64];
        strftime(expected, sizeof(expected), "%m-%dT%H:%M:%S.000000Z", &parts);
        const std::string text = text_of(seconds * 1000000);
        assert_text_equal(std::string_view(text).substr(5), expected);
        assert_int_equal(std::stoi(text.substr(0, 4)), parts.tm_year + 1900);
        int64_t us = 0;
        assert_true(parse_rfc3339(text, &us));
        assert_int_equal(us, seconds * 1000000);
    }
}

static void rfc3339_forms(void**) {
    rfc3339_is("2024-11-14T10:30:00Z", "2024-11-14T10:30:00.000000Z");
    rfc3339_is("2024-11-14t10:30:00z", "2024-11-14T10:30:00.000000Z");
    rfc3339_is("2024-11-14 10:30:00.1+00:00", "2024-11-14T10:30:00.100000Z");
    rfc3339_is("2024-11-14T10:30:00.123456789-02:30", "2024-11-14T13:00:00.123456Z");
    rfc3339_is("2024-12-31T23:59:60Z", "2025-01-01T00:00:00.000000Z");
    rfc3339_is("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z");
    rfc3339_is("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z");
    rfc3339_is("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z");
}

static void rfc3339_mistakes(void**) {
    for (std::string_view text : {"",
                                  "2024",
                                  "2024-11-14",
                                  "2024-11-14T10:30:00",
                                  "2024-11-14T10:30Z",
                                  "2024-13-01T00:00:00Z",
                                  "2024-00-01T00:00:00Z",
                                  "2024-11-31T00:00:00Z",
                                  "2023-02-29T00:00:00Z",
                                  "1900-02-29T00:00:00Z",
                                  "2024-11-14T24:00:00Z",
                                  "2024-11-14T10:60:00Z",
                                  "2024-11-14T10:30:61Z",
                                  "2024-11-14T10:30:00.Z",
                                  "2024-11-14T10:30:00+24:00",
                                  "2024-11-14T10:30:00+0100",
                                  "2024-11-14T10:30:00Zx",
                                  "0000-01-01T00:00:00Z",
                                  "0001-01-01T00:00:00+01:00",
                                  "9999-12-31T23:59:59-01:00",
                                  "-2024-11-14T10:30:00Z",
                                  "2024-11-14T10:30:00 Z",
                                  "infinity"}) {
        int64_t us = 0;
        if (parse_rfc3339(text, &us)) {
            fail_msg("taken: %s", std::string(text).c_str());
        }
    }
}

static void epoch_units_follow_from_magnitude(void**) {
    epoch_is("0", "1970-01-01T00:00:00.000000Z");
    epoch_is("1699957800", "2023-11-14T10:30:00.000000Z");
    epoch_is("1699957800.123456", "2023-11-14T10:30:00.123456Z");
    epoch_is("1699957800.1234567", "2023-11-14T10:30:00.123456Z");
    epoch_is("1699957800123", "2023-11-14T10:30:00.123000Z");
    epoch_is("1699957800123.4567", "2023-11-14T10:30:00.123456Z");
    epoch_is("1699957800123456", "2023-11-14T10:30:00.123456Z");
    epoch_is("1699957800123456789", "2023-11-14T10:30:00.123456Z");
    epoch_is("-1.5", "1969-12-31T23:59:58.500000Z");
    epoch_is("99999999999", "5138-11-16T09:46:39.000000Z");
    epoch_is("9999999999999999999", "2286-11-20T17:46:39.999999Z");
}

static void epoch_mistakes(void**) {
    for (std::string_view text : {"", "-", "1e9", "1.5x", "x", "1.2.3", "10000000000000000000",
                                  "-99999999999", "0x10", " 1"}) {
        int64_t us = 0;
        if (parse_epoch(text, &us)) {
            fail_msg("taken: %s", std::string(text).c_str());
        }
    }
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(agrees_with_libc_on_every_day),
        cmocka_unit_test(rfc3339_forms),
        cmocka_unit_test(rfc3339_mistakes),
        cmocka_unit_test(epoch_units_follow_from_magnitude),
        cmocka_unit_test(epoch_mistakes),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
