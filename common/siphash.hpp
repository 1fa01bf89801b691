// SipHash: a short keyed hash (Aumasson and Bernstein, 2012). Who does not know the key cannot find
// inputs that collide. 1-3 rounds are enough for a table that shows nobody its hashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

inline constexpr size_t kSipKeyBytes = 16;

// Made for <1, 3>, and for <2, 4>, of which the authors published the results.
template <int kRoundsPerWord, int kRoundsAtEnd>
[[nodiscard]] uint64_t siphash(const uint8_t key[kSipKeyBytes], std::string_view text) noexcept;

}  // namespace sluice
