// One who watches: what he asked for, how far he has come, and the bounded buffer between the tail
// and him. Only the tail's thread knows it; the stream is the HTTP server's, too.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "daemon/serve/body_stream.hpp"
#include "daemon/serve/tail_filter.hpp"
#include "daemon/serve/tail_record.hpp"

namespace sluice {

class TailClient {
  public:
    TailClient(const Query& query, const TailPlace* resume_at);

    [[nodiscard]] const std::shared_ptr<BodyStream>& stream() const noexcept { return stream_; }

    // kLive: shown what comes as it comes. kBehind: goes through what the stream still has first.
    // kAsking: where he was has to be looked for there.
    enum class Pace : uint8_t { kAsking, kBehind, kLive };
    [[nodiscard]] Pace pace() const noexcept { return pace_; }

    // Everything up to here has been seen to; of entries before the first, nothing.
    [[nodiscard]] const TailPlace& place() const noexcept { return place_; }
    void come_to(const TailPlace& place) noexcept { place_ = place_ < place ? place : place_; }
    // The entry at place() is in the stream, or was when it was looked for: if it is gone, so are
    // others behind it.
    [[nodiscard]] bool holds_on() const noexcept { return holds_on_; }
    void follow(Pace pace, bool holds_on) noexcept {
        pace_ = pace;
        holds_on_ = holds_on;
    }
    void ask_again() noexcept { pace_ = Pace::kAsking; }
    // Some of what he had to see is not there any more, or was never: goes on at another place. He
    // is told when there is room.
    void gap(const char* reason, const TailPlace& go_on_behind);

    [[nodiscard]] bool takes(const TailRecord& record) const { return filter_.takes(record); }
    // Empty: of any.
    [[nodiscard]] const std::string& device_id() const noexcept { return filter_.device_id(); }
    // The record at this place. False if there is no room: who is behind stalls, and is shown it
    // again later; to others it is dropped, and they are told so when there is room. Once some is
    // dropped, all is until half of the room is free, so that not every other event tells of one.
    bool show(const BodyStream::Piece& event, const TailPlace& place);
    // What he is shown is handed over at once, but then not again for a moment, unless it is much:
    // to write each record by itself costs the server, nginx and him several times as much.
    void hand_over(int64_t now_us);
    // When it is to be done; INT64_MAX: there is nothing.
    [[nodiscard]] int64_t hand_over_at_us() const noexcept {
        return shown_bytes_ != 0 ? hand_over_at_us_ : INT64_MAX;
    }
    [[nodiscard]] bool has_room() const;
    [[nodiscard]] bool stalled() const noexcept { return stalled_; }
    void try_again() noexcept { stalled_ = false; }
    // Now and then, what he missed; false if he does not know it yet.
    bool tell_missed();
    void beat();

    [[nodiscard]] uint64_t take_dropped() noexcept {
        const uint64_t dropped = dropped_new_;
        dropped_new_ = 0;
        return dropped;
    }

  private:
    bool write(std::string text);

    TailFilter filter_;
    std::shared_ptr<BodyStream> stream_;
    Pace pace_ = Pace::kLive;
    bool holds_on_ = false;
    bool stalled_ = false;
    TailPlace place_;
    std::string gap_;         // not told yet; of several, the first
    size_t shown_bytes_ = 0;  // and not handed over
    int64_t hand_over_at_us_ = 0;
    uint64_t dropped_ = 0;      // not told yet
    uint64_t dropped_new_ = 0;  // not counted yet
};

}  // namespace sluice
