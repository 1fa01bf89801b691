// A record on its way from an entry of the stream to those who watch: read from the row that the
// edge wrote, and written as an event.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/frame.hpp"
#include "common/record_rules.hpp"
#include "daemon/stream_id.hpp"

namespace sluice {

// A place in the stream: an entry, and a record in it. It is what events are known by.
struct TailPlace {
    StreamId entry;
    uint64_t position = 0;

    friend bool operator<(const TailPlace& a, const TailPlace& b) noexcept {
        return a.entry != b.entry ? a.entry < b.entry : a.position < b.position;
    }
    friend bool operator==(const TailPlace& a, const TailPlace& b) noexcept {
        return a.entry == b.entry && a.position == b.position;
    }
    // Behind all records of the entry.
    [[nodiscard]] static TailPlace behind(const StreamId& entry) noexcept {
        return {entry, kFrameRecordsMax};
    }
};

// "<ms>-<seq>-<position>", as the edge gives it to who sends a record.
[[nodiscard]] std::string to_string(const TailPlace& place);
[[nodiscard]] bool parse_tail_place(std::string_view text, TailPlace* out) noexcept;

// Used again for each record.
class TailRecord {
  public:
    // A row in COPY text form, without its newline. False if it is none that can be stored.
    [[nodiscard]] bool read(std::string_view row);

    [[nodiscard]] const std::string& device_id() const noexcept { return device_id_; }
    [[nodiscard]] Level level() const noexcept { return level_; }
    [[nodiscard]] const std::string& message() const noexcept { return message_; }
    [[nodiscard]] const std::string& log_data() const noexcept { return log_data_; }

    // With the empty line that ends it. Nothing in a record can end a line of it.
    [[nodiscard]] std::string event(const TailPlace& place, int64_t receive_time_ms) const;

  private:
    std::string device_id_;
    Level level_ = Level::kInfo;
    std::string message_;
    std::string log_data_;
    std::string event_time_;  // as in the row; empty: none
};

}  // namespace sluice
