// Reading Redis' replies (RESP2) from a buffer that fills as bytes arrive. Nothing is copied and
// nothing allocated: a reply is looked at only when it is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

// No reply to what the edge sends comes near these; anything beyond is not Redis speaking.
inline constexpr size_t kReplyBytesMax = 64 * 1024;
inline constexpr unsigned kReplyDepthMax = 4;

enum class ReplyStatus : uint8_t { kIncomplete, kComplete, kBroken };

enum class ReplyType : uint8_t { kStatus, kError, kInteger, kBulk, kNull, kArray };

struct Reply {
    ReplyType type;
    std::string_view text;     // status, error, bulk
    int64_t integer = 0;       // integer, or the number of elements of an array
    const char* elements;      // of an array: where the first element begins
    size_t bytes = 0;          // of the whole reply
};

// Reads the reply at the front of [data, data + size).
[[nodiscard]] ReplyStatus read_reply(const char* data, size_t size, Reply* out) noexcept;

// The element at cursor, which must lie inside a complete reply; returns where the next begins.
const char* next_element(const char* cursor, Reply* out) noexcept;

}  // namespace sluice
