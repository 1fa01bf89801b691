// Times from clients: what is read is written as a time that is read the same; an epoch in one unit
// is the same moment as in another; and the C library agrees about the calendar.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "common/timestamp.hpp"

using namespace sluice;

static void require(bool holds) {
    if (!holds) {
        abort();
    }
}

static constexpr int64_t kFirstUs = -62135596800LL * 1000000;  // year 1
static constexpr int64_t kEndUs = 253402300800LL * 1000000;    // year 10000

static int64_t check_written(int64_t epoch_us) {
    char text[kTimestampBytes];
    require(format_timestamp(epoch_us, text) == text + kTimestampBytes);
    int64_t again = 0;
    require(parse_rfc3339({text, kTimestampBytes}, &again) && again == epoch_us);

    const int64_t micros = ((epoch_us % 1000000) + 1000000) % 1000000;
    const time_t seconds = static_cast<time_t>((epoch_us - micros) / 1000000);
    tm parts{};
    require(gmtime_r(&seconds, &parts) != nullptr);
    char expected[64];
    snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
             parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
             parts.tm_sec, static_cast<int>(micros));
    require(std::memcmp(text, expected, kTimestampBytes) == 0);
    return again;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    // In a buffer of its own size, so that a sanitizer sees a step outside.
    const std::string copy(reinterpret_cast<const char*>(data), size);
    const std::string_view text(copy);
    int64_t epoch_us = 0;
    if (parse_rfc3339(text, &epoch_us)) {
        require(size >= 20 && epoch_us >= kFirstUs && epoch_us < kEndUs);
        check_written(epoch_us);
    }
    if (parse_epoch(text, &epoch_us)) {
        require(epoch_us >= kFirstUs && epoch_us < kEndUs);
        check_written(epoch_us);
        // To the microsecond as plain microseconds, where these cannot be taken for another unit.
        if (epoch_us >= 100000000000000 && epoch_us < 100000000000000000) {
            int64_t again = 0;
            require(parse_epoch(std::to_string(epoch_us), &again) && again == epoch_us);
        }
    }
    return 0;
}
