// The frame: the records that enter the stream as one entry, and the unit of atomicity,
// acknowledgement and dedupe. Field order is fixed, so that Redis stores the names only once:
//
//   v  version                  "1"
//   u  producer id              16 bytes, a UUID (see ProducerId)
//   t  receive time             milliseconds since 1970, decimal
//   n  records                  decimal
//   r  rows                     n rows in COPY text form, each ended by a newline:
//                               device_id, log_level, message, log_data, event_time
//
// What identifies a frame is u, never the entry's id: Redis issues ids again after it lost state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

inline constexpr std::string_view kDefaultStream = "logs:stream";
inline constexpr std::string_view kDefaultGroup = "log_workers";
inline constexpr std::string_view kFrameVersion = "1";

// A receive time outside these bounds is a broken clock; it is stored at the bound and counted.
// Constants, so that a frame read twice lands in the same partition twice.
inline constexpr int64_t kReceiveTimeMinMs = 1577836800000;  // 2020-01-01
inline constexpr int64_t kReceiveTimeMaxMs = 4102444799999;  // 2099-12-31

// From the receive time in a frame to its entry: as long as an edge waits for Redis, and as much
// again for clocks that differ. What takes longer comes behind the settled horizon.
inline constexpr int64_t kOnTheWayMsMax = 10000;

// One producer id a frame, made in the edge's worker: a UUID version 7 (RFC 9562), so that ids of
// one worker rise with time.
//
//   0..5   milliseconds       6..7   version, counter's high 12 bits
//   8..9   variant, counter's low 12 bits, 2 random bits        10..15  random
//
// The randomness is drawn once in each worker, after the fork.
using ProducerId = std::array<uint8_t, 16>;

class ProducerIds {
  public:
    static constexpr size_t kSeedBytes = 8;
    void seed(const uint8_t (&random)[kSeedBytes]) noexcept;
    ProducerId next(int64_t now_ms) noexcept;

  private:
    uint8_t random_[kSeedBytes] = {};
    uint32_t counter_ = 0;
};

// A keyed request's frame is known by what the request was: a UUID version 8 of 16 bytes of a hash.
// The version tells the two kinds apart.
[[nodiscard]] ProducerId keyed_producer_id(const uint8_t* hash) noexcept;
[[nodiscard]] inline bool is_keyed(const ProducerId& id) noexcept {
    return id[6] >> 4 == 8;
}

// What has no id of its own gets one of its time and a hash of at least 16 bytes: a UUID version 7
// whose random bits are the hash's.
[[nodiscard]] ProducerId hashed_producer_id(uint64_t ms, const uint8_t* hash) noexcept;

// The XADD of a frame around rows that are already in place, so that payload is never moved: the
// head is written right-aligned in front of the rows, the tail behind them.
inline constexpr size_t kFrameHeadBytesMax = 512;
inline constexpr size_t kFrameTailBytes = 2;
inline constexpr size_t kStreamNameBytesMax = 256;
inline constexpr uint32_t kFrameRecordsMax = 1000000;

struct FrameHead {
    std::string_view stream;
    ProducerId producer_id;
    int64_t receive_time_ms;
    uint32_t records;
    size_t rows_bytes;
};

// Writes the head so that it ends at rows; returns where it begins.
char* write_frame_head(const FrameHead& head, char* rows) noexcept;
char* write_frame_tail(char* rows_end) noexcept;

// A frame as read from the stream. The views point into the reader's reply.
struct Frame {
    ProducerId producer_id;
    int64_t receive_time_ms;  // within the bounds above
    bool time_clamped;
    uint32_t records;
    std::string_view rows;
};

// Clamped to the bounds above.
void set_receive_time(int64_t ms, Frame* frame) noexcept;

enum class FrameError : uint8_t {
    kNone,
    kPlainEntry,      // the layout of other producers (plain_entry.hpp)
    kUnknownVersion,  // a newer edge wrote it: leave it in the stream
    kDamaged,         // none of these, or fields that contradict each other
};

struct EntryField {
    std::string_view name;
    std::string_view value;
};

[[nodiscard]] FrameError read_frame(const EntryField* fields, size_t count, Frame* out) noexcept;

}  // namespace sluice
