// The id of a stream's entry: milliseconds and a sequence number, ordered as Redis orders them.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

namespace sluice {

struct StreamId {
    uint64_t ms = 0;
    uint64_t seq = 0;

    friend bool operator==(const StreamId& a, const StreamId& b) noexcept {
        return a.ms == b.ms && a.seq == b.seq;
    }
    friend bool operator!=(const StreamId& a, const StreamId& b) noexcept { return !(a == b); }
    friend bool operator<(const StreamId& a, const StreamId& b) noexcept {
        return std::tie(a.ms, a.seq) < std::tie(b.ms, b.seq);
    }

    // The smallest id above this one; the last of all ids stays what it is.
    [[nodiscard]] StreamId next() const noexcept {
        if (seq != UINT64_MAX) {
            return {ms, seq + 1};
        }
        return ms != UINT64_MAX ? StreamId{ms + 1, 0} : *this;
    }
};

inline constexpr StreamId kStreamIdMax = {UINT64_MAX, UINT64_MAX};

inline std::string to_string(const StreamId& id) {
    constexpr size_t kDigitsMax = 20;
    char text[2 * kDigitsMax + 1];
    char* end = std::to_chars(text, text + kDigitsMax, id.ms).ptr;
    *end++ = '-';
    end = std::to_chars(end, text + sizeof text, id.seq).ptr;
    return {text, end};
}

[[nodiscard]] inline bool parse_stream_id(std::string_view text, StreamId* out) noexcept {
    const char* end = text.data() + text.size();
    const auto ms = std::from_chars(text.data(), end, out->ms);
    if (ms.ec != std::errc() || ms.ptr == end || *ms.ptr != '-') {
        return false;
    }
    const auto seq = std::from_chars(ms.ptr + 1, end, out->seq);
    return seq.ec == std::errc() && seq.ptr == end;
}

}  // namespace sluice
