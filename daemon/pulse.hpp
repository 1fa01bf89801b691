// Which threads stand still. A thread that is watched says when it moves and when it rests; one
// that does neither for too long hangs: in a system call without a deadline, on a lock, in a loop.
// Whoever waits with a deadline of its own says meanwhile that it moves.
#pragma once

#include <cstdint>
#include <string>

namespace sluice {

// So often at least says so who waits.
inline constexpr int64_t kPulseMs = 250;

// The calling thread is watched from here on, until it ends.
void pulse_as(std::string name);

// The calling thread moves, if it is watched.
void pulse() noexcept;

// It has nothing to do, however long.
void pulse_rest() noexcept;

// The name of a thread that has not moved, and does not rest, since then; empty if there is none.
[[nodiscard]] std::string thread_standing_still(int64_t since_us);

}  // namespace sluice
