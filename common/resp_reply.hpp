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
    std::string_view text;  // of a status, error or bulk; of an array the bytes of its elements
    int64_t integer = 0;    // an integer, or the number of elements of an array
    size_t bytes = 0;       // of the whole reply
};

// Reads the reply at the front of [data, data + size).
[[nodiscard]] ReplyStatus read_reply(const char* data, size_t size, Reply* out) noexcept;

// Takes the next element off the front of an array's text; false when there is none.
[[nodiscard]] bool take_element(std::string_view* elements, Reply* out) noexcept;

// The id of a stream's entry, as in 1700000000000-0: what XADD answers, and nothing else does.
[[nodiscard]] bool is_entry_id(std::string_view text) noexcept;

}  // namespace sluice
