// A limit that holds for several edges together. Each judges by a table of its own, where a key's
// word is what the edge knows of the whole; what it admitted it tells the others through a place
// they share, some time later, and learns there what all have told:
//
//   debt = the most of what is left of the debt and 0, + what is told
//
// An edge may admit U of a key of which the others do not know. With B for what burst and delay
// let anyone owe, E edges and S for kSlackNs (all in ns at the limit's rate):
//
//   U = the most of B / E + S and one unit
//
// What E edges admit in any time t costs at most
//
//   t + B + S + (E - 1) * U          about rate * t + 2 * burst + E * 0.2 s of the rate
//
// however late they tell and learn. For, of all edges that admitted lately, take the one whose last
// admission knew most: with what it knew and admitted it was within B + S, and none of the others
// had admitted more than U of which it did not know. Told late, a debt only ever seems larger; S is
// forgiven for that, so that who keeps to the rate on one edge, with bursts of B / E at most, is
// never refused while telling and learning take 50 ms.
//
// An edge that has not heard from the place for a second judges by its share: rate / E, and at once
// no more than U. It tells nobody, so its share comes on top of what the others admit, or if none
// of them hears, of what they admitted before. An edge that never heard takes itself to be alone.
//
// Else, beyond the bound lets only: U, each time it is unknown whether what was told arrived, an
// edge ends with something untold, or one comes that not all know of yet; and the whole bound anew,
// when the place loses its state. At no time does an edge admit more than the limit lets it alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/gcra.hpp"
#include "common/hot_keys.hpp"
#include "common/limit_table.hpp"

namespace sluice {

// The edges, as one of them knows of them.
struct Edges {
    uint64_t alive = 1;
    bool heard = false;  // the place they share answered lately
};

class GlobalLimit {
  public:
    static constexpr uint64_t kIntervalNs = uint64_t{100} * 1000 * 1000;  // from telling to telling
    static constexpr uint64_t kSlackNs = 2 * kIntervalNs;
    static constexpr uint64_t kEdgesMax = 256;
    // An edge that was not heard of for so long is not alive.
    static constexpr uint64_t kForgottenNs = uint64_t{10} * 1000 * 1000 * 1000;

    // More than can be owed of a key where no clock went back: for GcraLimit, and for what the
    // shared place is to keep.
    [[nodiscard]] static uint64_t owed_max_ns(const GcraLimit& limit, uint64_t edges) noexcept;

    // The most units that one edge admits at once while there are so many.
    [[nodiscard]] static uint64_t largest(const GcraLimit& limit, const Edges& edges) noexcept;

    // U of above.
    [[nodiscard]] static uint64_t untold_max_ns(const GcraLimit& limit, uint64_t edges) noexcept;

    GlobalLimit() noexcept = default;
    GlobalLimit(LimitTable table, HotKeys hot) noexcept : table_(table), hot_(hot) {}

    // As LimitTable's. name is what the key is called on all edges; 0 will do if has_name().
    [[nodiscard]] LimitAnswer check(uint64_t key, const GcraLimit& limit, uint64_t now_ns,
                                    uint64_t n, const Edges& edges) const noexcept;
    [[nodiscard]] LimitAnswer charge(uint64_t key, uint64_t name, const GcraLimit& limit,
                                     uint64_t now_ns, uint64_t n, WhenFull when_full,
                                     const Edges& edges) noexcept;
    void give_back(uint64_t key, const GcraLimit& limit, uint64_t charged_tat, uint64_t now_ns,
                   uint64_t n) noexcept;
    [[nodiscard]] bool has_name(uint64_t key) const noexcept { return hot_.has(key); }

  private:
    static Judgement too_large_for_now(const GcraLimit& limit, uint64_t n) noexcept;

    LimitTable table_;
    HotKeys hot_;
};

// What one worker of an edge tells of a limit's keys, and learns.
class GlobalTeller {
  public:
    static constexpr size_t kKeysMax = 256;  // at once

    // Too little to matter is told after so many rounds: most keys are not near their limit.
    static constexpr uint64_t kLittleNs = GlobalLimit::kIntervalNs / 2;
    static constexpr uint8_t kRoundsMax = 10;

    GlobalTeller() noexcept = default;
    GlobalTeller(LimitTable table, HotKeys hot, WhenFull when_full) noexcept
        : table_(table), hot_(hot), when_full_(when_full) {}

    // A round over all keys: begin(), then next() until it answers 0, each ended by learned() for
    // every key and done(), or by done() alone if nothing was learned.
    void begin() noexcept { slot_ = 0; }
    [[nodiscard]] size_t next() noexcept;
    [[nodiscard]] const HotKeys::Telling& telling(size_t i) const noexcept { return keys_[i].tell; }

    // What all edges owe together, a moment ago.
    void learned(size_t i, uint64_t debt_us, uint64_t now_ns) noexcept;
    void done() noexcept;

    // The worker that told before is gone.
    void take_over() noexcept { hot_.all_told(); }

  private:
    struct Key {
        size_t slot;
        HotKeys::Telling tell;
    };

    LimitTable table_;
    HotKeys hot_;
    WhenFull when_full_ = WhenFull::kEvict;
    size_t slot_ = 0;
    size_t keys_count_ = 0;
    Key keys_[kKeysMax] = {};
    uint8_t rounds_[HotKeys::kSlotsMax] = {};  // for which a slot's little was kept
};

}  // namespace sluice
