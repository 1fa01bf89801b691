// What clients owe, in a block of memory that several processes share: a table of fixed size in
// which nothing is ever allocated or locked. A worker may be killed at any point: it leaves behind
// at most one charge too many, which time heals, and nothing that the others wait for.
//
// A key lives in one of 8 slots, two cache lines of 4. An entry that owes nothing may be taken by
// anyone. Hashes are keyed, so nobody can choose who shares his lines; two keys are taken for one
// with a chance of 2^-40 a pair in the same lines.
//
// Were all clocks to go back, a closed table would take what others owe for true until they come
// again or the clock has caught up.
//
// A key must always be judged by the same limit: where several share a table, or a limit changed,
// its name and its numbers belong into the text of the key.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/gcra.hpp"
#include "common/siphash.hpp"

namespace sluice {

// When all 8 slots owe: whoever owes least is forgotten, or the newcomer is turned away.
enum class WhenFull : uint8_t { kEvict, kRefuse };

struct LimitAnswer {
    Judgement judgement;
    uint64_t tat = 0;  // the word the judgement leaves, for remaining(), full_in_ns(), give_back()
    bool evicted = false;  // somebody was forgotten
    // No slot could be had, and nothing was charged: refused, and wait_ns is what the first of the
    // 8 still owes. With kEvict this takes others that snatch the slot kRoundsMax times in a row.
    bool full = false;

    void refuse_full(uint64_t wait_ns) noexcept {
        judgement = {Verdict::kRefuse, wait_ns};
        tat = 0;
        full = true;
    }
};

class LimitTable {
  public:
    static constexpr unsigned kRoundsMax = 64;

    LimitTable() noexcept = default;

    [[nodiscard]] static size_t bytes_min() noexcept;

    // Makes a table of memory that nobody uses yet; it must be aligned to a cache line. False if it
    // is not, or too small.
    [[nodiscard]] static bool create(void* memory, size_t bytes,
                                     const uint8_t seed[kSipKeyBytes]) noexcept;

    // A view of a table that was made of just this many bytes; false if there is none.
    [[nodiscard]] static LimitTable attach(void* memory, size_t bytes) noexcept;
    explicit operator bool() const noexcept { return header_ != nullptr; }

    [[nodiscard]] uint64_t key(std::string_view text) const noexcept;

    // What charge() would say now, were there room. Nothing is charged.
    [[nodiscard]] LimitAnswer check(uint64_t key, const GcraLimit& limit, uint64_t now_ns,
                                    uint64_t n) const noexcept;

    // Charges what it admits. Races that are left:
    // - A worker whose now_ns is ahead takes the slot of an entry that owes nothing any more; one
    //   that lags admits the key as new. It forgives at most by how much their clocks differ.
    // - A worker that is stopped while its slot is taken charges the new owner, sees it, and takes
    //   that back. Stopped there too until the time for it has passed, it takes back what the owner
    //   spent since: one charge at most.
    [[nodiscard]] LimitAnswer charge(uint64_t key, const GcraLimit& limit, uint64_t now_ns,
                                     uint64_t n, WhenFull when_full) noexcept;

    // Gives back n units; charged_tat is the tat that charge() answered. If the slot is taken at
    // this very moment, the new owner gets them: one charge at most.
    void give_back(uint64_t key, const GcraLimit& limit, uint64_t charged_tat, uint64_t now_ns,
                   uint64_t n) noexcept;

    // The key owes this at least, as somebody says who knows more. If its slot is taken at this
    // very moment, the new owner may be found to owe it.
    void raise(uint64_t key, uint64_t now_ns, uint64_t tat, WhenFull when_full) noexcept;

    [[nodiscard]] size_t slots() const noexcept;

    // How many owe, by a walk over all.
    [[nodiscard]] size_t used_slots(uint64_t now_ns) const noexcept;

  private:
    // The life of a slot; t is a ticket, of which each taking has its own:
    //
    //   tag          word
    //   0            0 or reserved      free
    //   T            owed               T's; its word is a TAT, charged by CAS
    //   T            reserved for t     lost to whoever drew t; anyone may clear the tag
    //   claim K, t   reserved for t     t's: K's, unless K is in another slot too
    //   K, t         reserved for t     K's, who owes nothing yet
    //
    // Reserving is a CAS from a word that owes nothing (or that of the evicted), so a charge is
    // either seen by who takes the slot or fails. K's tag stands in one slot at most: a claim is
    // settled only after a look at the other 7 that began when the claim could be seen already.
    // Of two claims neither can have been missed by both; the later in the order of slots is
    // withdrawn. Whoever meets a claim to its own key carries on with it, so nobody waits.
    struct Slot {
        std::atomic<uint64_t> tag;
        std::atomic<uint64_t> word;
    };
    static_assert(std::atomic<uint64_t>::is_always_lock_free);

    static constexpr size_t kLineBytes = 64;
    static constexpr size_t kGroupSlots = kLineBytes / sizeof(Slot);
    static constexpr size_t kNearSlots = 2 * kGroupSlots;

    struct alignas(kLineBytes) Group {
        Slot slots[kGroupSlots];
    };

    struct alignas(kLineBytes) Header {
        uint64_t layout;
        uint64_t groups;
        uint8_t seed[kSipKeyBytes];
        alignas(kLineBytes) std::atomic<uint64_t> tickets;
    };

    // The two groups in which a key may be.
    struct Near {
        Group* groups[2];
        Slot& operator[](size_t i) const { return groups[i / kGroupSlots]->slots[i % kGroupSlots]; }
    };

    // An entry, as it was seen: once gone, its tag is not seen again for 8 million takings.
    struct Place {
        Slot* slot = nullptr;
        uint64_t tag = 0;
    };

    struct Sight;
    struct Candidate;

    static size_t groups_in(size_t bytes) noexcept;
    Near near(uint64_t key) const noexcept;
    static Place find(const Near& near, uint64_t key) noexcept;
    static Sight look(const Near& near, uint64_t key) noexcept;
    static Candidate choose(const Near& near, uint64_t now_ns) noexcept;
    uint64_t take(const Candidate& candidate, uint64_t key, LimitAnswer* answer) noexcept;
    Place insert(const Near& near, uint64_t key, uint64_t now_ns, WhenFull when_full,
                 LimitAnswer* answer) noexcept;
    static bool charge_at(const Place& place, const GcraLimit& limit, uint64_t now_ns, uint64_t n,
                          LimitAnswer* answer) noexcept;
    static void heal(Slot* slot, const GcraLimit& limit, uint64_t word, uint64_t now_ns) noexcept;
    static bool raise_at(const Place& place, uint64_t tat) noexcept;
    static void take_back(Slot* slot, const GcraLimit& limit, uint64_t charged_tat, uint64_t now_ns,
                          uint64_t n) noexcept;

    Header* header_ = nullptr;
    Group* groups_ = nullptr;
};

}  // namespace sluice
