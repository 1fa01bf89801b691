#include "common/query_cursor.hpp"

#include <cstring>

#include "common/timestamp.hpp"

namespace sluice {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
// base64url of three numbers, a format's number, and what tells a word that was damaged in a mail
// or made up from one of ours. No secret: who makes one up sees no more than with from and to.
constexpr unsigned kNumbers = 3;
constexpr size_t kBytes = kNumbers * sizeof(uint64_t) + 3;
constexpr uint8_t kFormat = 1;
static_assert(kBytes / 3 * 4 == kQueryCursorBytes);

uint16_t check_of(const uint8_t* bytes, size_t count) {
    uint32_t low = 1;
    uint32_t high = 0;
    for (size_t i = 0; i < count; i++) {
        low = (low + bytes[i]) % 251;
        high = (high + low) % 251;
    }
    return static_cast<uint16_t>(high << 8 | low);
}

int value_of(char c) {
    const char* found = c == '\0' ? nullptr : std::strchr(kAlphabet, c);
    return found == nullptr ? -1 : static_cast<int>(found - kAlphabet);
}

bool is_time(int64_t us) {
    return us >= kTimestampMinUs && us < kTimestampEndUs;
}

}  // namespace

char* write_cursor(const QueryCursor& cursor, char* out) noexcept {
    uint8_t bytes[kBytes];
    const int64_t numbers[kNumbers] = {cursor.created_at_us, cursor.id, cursor.began_us};
    std::memcpy(bytes, numbers, sizeof numbers);
    bytes[sizeof numbers] = kFormat;
    const uint16_t check = check_of(bytes, kBytes - 2);
    bytes[kBytes - 2] = static_cast<uint8_t>(check >> 8);
    bytes[kBytes - 1] = static_cast<uint8_t>(check);
    for (size_t i = 0; i < kBytes; i += 3) {
        const uint32_t group =
            static_cast<uint32_t>(bytes[i] << 16 | bytes[i + 1] << 8 | bytes[i + 2]);
        for (int shift = 18; shift >= 0; shift -= 6) {
            *out++ = kAlphabet[group >> shift & 63];
        }
    }
    return out;
}

bool parse_cursor(std::string_view text, QueryCursor* out) noexcept {
    if (text.size() != kQueryCursorBytes) {
        return false;
    }
    uint8_t bytes[kBytes];
    for (size_t i = 0; i < kBytes / 3; i++) {
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            const int value = value_of(text[4 * i + j]);
            if (value < 0) {
                return false;
            }
            group = group << 6 | static_cast<uint32_t>(value);
        }
        bytes[3 * i] = static_cast<uint8_t>(group >> 16);
        bytes[3 * i + 1] = static_cast<uint8_t>(group >> 8);
        bytes[3 * i + 2] = static_cast<uint8_t>(group);
    }
    const uint16_t check = check_of(bytes, kBytes - 2);
    int64_t numbers[kNumbers];
    if (bytes[kBytes - 3] != kFormat || bytes[kBytes - 2] != check >> 8 ||
        bytes[kBytes - 1] != (check & 255)) {
        return false;
    }
    std::memcpy(numbers, bytes, sizeof numbers);
    if (!is_time(numbers[0]) || !is_time(numbers[2])) {
        return false;
    }
    *out = {numbers[0], numbers[1], numbers[2]};
    return true;
}

}  // namespace sluice
