// How far the tail has read the stream, and whether it missed anything on its way. Redis does not
// say that what was asked for is no longer there, or never was, but it counts what was ever added:
// where what was read is not as much as that, entries were trimmed before they were read, or Redis
// has lost what it had and begun anew.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/entry.hpp"
#include "daemon/stream_id.hpp"

namespace sluice {

struct StreamEnds {
    StreamId first;  // of what is there; nothing is below it but what was trimmed
    StreamId last;   // that was ever given to an entry
    uint64_t added = 0;
    uint64_t length = 0;
};

enum class TailLoss : uint8_t { kNone, kWindowPassed, kStateLost };

class TailReading {
  public:
    void begin(const StreamEnds& ends) noexcept;
    void end() noexcept { begun_ = false; }
    [[nodiscard]] bool begun() const noexcept { return begun_; }
    [[nodiscard]] const StreamId& to() const noexcept { return to_; }

    // These were read behind to(), and the ends were asked for after it. What is trimmed between
    // the two may leave nothing to judge by; then the next piece shows what was missed.
    [[nodiscard]] TailLoss went_on(const std::vector<Entry>& entries,
                                   const StreamEnds& ends) noexcept;
    // Now and then: Redis may give ids anew, below to(), so that nothing would ever be behind it.
    [[nodiscard]] TailLoss looked(const StreamEnds& ends) noexcept;
    // An entry that was in the stream and is not there any more.
    [[nodiscard]] TailLoss why_gone(const StreamId& entry, const StreamEnds& ends) const noexcept;

  private:
    void lost_state() noexcept;

    bool begun_ = false;
    StreamId to_;
    uint64_t added_ = 0;  // up to there
    StreamId lost_to_;    // what Redis lost was up to here, as far as is known
};

}  // namespace sluice
