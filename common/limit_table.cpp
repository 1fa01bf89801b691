#include "common/limit_table.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace sluice {

namespace {

constexpr uint64_t kLayout = 0x736c632d6c696d01;  // "slc-lim", version 1

// A tag: 40 bits of the key, 23 of a ticket that is never 0, and whether it is but a claim.
constexpr unsigned kTicketBits = 23;
constexpr uint64_t kTickets = (uint64_t{1} << kTicketBits) - 1;
constexpr uint64_t kClaim = 1;
constexpr uint64_t kTicketMask = kTickets << 1;
constexpr uint64_t kKeyMask = ~(kTicketMask | kClaim);

// A word: a TAT, or reserved for a ticket.
constexpr uint64_t kReserved = uint64_t{1} << 63;

bool is_of(uint64_t tag, uint64_t key) {
    return tag != 0 && ((tag ^ key) & kKeyMask) == 0;
}

bool is_claim(uint64_t tag) {
    return (tag & kClaim) != 0;
}

bool is_reserved(uint64_t word) {
    return (word & kReserved) != 0;
}

uint64_t reserved_for(uint64_t tag) {
    return kReserved | (tag & kTicketMask);
}

// Maps 32 bits evenly to [0, end).
uint64_t scaled(uint64_t hash32, uint64_t end) {
    return hash32 * end >> 32;
}

bool swap(std::atomic<uint64_t>& word, uint64_t from, uint64_t to) {
    return word.compare_exchange_strong(from, to);
}

}  // namespace

// What a look at all slots of a key found.
struct LimitTable::Sight {
    Place settled;
    Place claim;            // the first
    bool withdrew = false;  // another claim, or tried to
};

// A slot to take, and what was in it.
struct LimitTable::Candidate {
    enum Rank : uint8_t { kFree, kExpired, kUncharged, kOwing, kNone };

    Place place;
    uint64_t word = 0;
    Rank rank = kNone;

    static Candidate of(Slot& slot, uint64_t now_ns) {
        Candidate seen;
        // In this order: a word that is reserved after its tag was read condemns the tag.
        seen.place = {&slot, slot.tag.load()};
        seen.word = slot.word.load();
        if (!is_reserved(seen.word)) {
            seen.rank = seen.word <= now_ns ? kExpired : kOwing;
        } else {
            seen.rank = seen.word == reserved_for(seen.place.tag) ? kUncharged : kFree;
        }
        return seen;
    }

    bool vacant() const { return rank <= kExpired; }
    bool better_than(const Candidate& other) const {
        return rank != other.rank ? rank < other.rank : word < other.word;
    }
};

size_t LimitTable::groups_in(size_t bytes) noexcept {
    return bytes < sizeof(Header)
               ? 0
               : std::min<size_t>((bytes - sizeof(Header)) / sizeof(Group), UINT32_MAX);
}

size_t LimitTable::bytes_min() noexcept {
    return sizeof(Header) + 2 * sizeof(Group);
}

bool LimitTable::create(void* memory, size_t bytes, const uint8_t seed[kSipKeyBytes]) noexcept {
    if (reinterpret_cast<uintptr_t>(memory) % kLineBytes != 0 || bytes < bytes_min()) {
        return false;
    }
    auto* header = new (memory) Header;
    header->layout = kLayout;
    header->groups = groups_in(bytes);
    std::memcpy(header->seed, seed, kSipKeyBytes);
    header->tickets.store(0);
    auto* group = reinterpret_cast<Group*>(header + 1);
    for (size_t i = 0; i < header->groups; i++) {
        for (Slot& slot : (new (group + i) Group)->slots) {
            slot.tag.store(0, std::memory_order_relaxed);
            slot.word.store(0, std::memory_order_relaxed);
        }
    }
    return true;
}

LimitTable LimitTable::attach(void* memory, size_t bytes) noexcept {
    LimitTable table;
    auto* header = static_cast<Header*>(memory);
    if (reinterpret_cast<uintptr_t>(memory) % kLineBytes == 0 && bytes >= bytes_min() &&
        header->layout == kLayout && header->groups == groups_in(bytes)) {
        table.header_ = header;
        table.groups_ = reinterpret_cast<Group*>(header + 1);
    }
    return table;
}

uint64_t LimitTable::key(std::string_view text) const noexcept {
    return siphash<1, 3>(header_->seed, text);
}

LimitTable::Near LimitTable::near(uint64_t key) const noexcept {
    const uint64_t groups = header_->groups;
    const uint64_t first = scaled(key & UINT32_MAX, groups);
    const uint64_t second = scaled(key * 0x9e3779b97f4a7c15 >> 32, groups - 1);
    return {{groups_ + first, groups_ + (second < first ? second : second + 1)}};
}

LimitTable::Place LimitTable::find(const Near& near, uint64_t key) noexcept {
    for (size_t i = 0; i < kNearSlots; i++) {
        const uint64_t tag = near[i].tag.load();
        if (is_of(tag, key) && !is_claim(tag)) {
            return {&near[i], tag};
        }
    }
    return {};
}

// Leaves of all claims to the key only the first, and none if the key has its slot.
LimitTable::Sight LimitTable::look(const Near& near, uint64_t key) noexcept {
    Sight sight;
    for (size_t i = 0; i < kNearSlots; i++) {
        const uint64_t tag = near[i].tag.load();
        if (!is_of(tag, key)) {
            continue;
        }
        if (!is_claim(tag)) {
            sight.settled = {&near[i], tag};
        } else if (sight.settled.slot == nullptr && sight.claim.slot == nullptr) {
            sight.claim = {&near[i], tag};
        } else {
            swap(near[i].tag, tag, 0);
            sight.withdrew = true;
        }
    }
    if (sight.settled.slot != nullptr && sight.claim.slot != nullptr) {
        swap(sight.claim.slot->tag, sight.claim.tag, 0);
    }
    return sight;
}

// The best slot to take, from the line that has more room: so both fill evenly, and are full late.
LimitTable::Candidate LimitTable::choose(const Near& near, uint64_t now_ns) noexcept {
    Candidate best[2];
    size_t vacant[2] = {0, 0};
    for (size_t i = 0; i < kNearSlots; i++) {
        const Candidate seen = Candidate::of(near[i], now_ns);
        const size_t group = i / kGroupSlots;
        vacant[group] += seen.vacant();
        if (seen.better_than(best[group])) {
            best[group] = seen;
        }
    }
    if (vacant[0] != vacant[1]) {
        return best[vacant[1] > vacant[0]];
    }
    return best[best[1].better_than(best[0])];
}

// Answers the claim, or 0 if somebody else was faster.
uint64_t LimitTable::take(const Candidate& candidate, uint64_t key, LimitAnswer* answer) noexcept {
    const uint64_t ticket = header_->tickets.fetch_add(1) % kTickets + 1;
    const uint64_t claim = (key & kKeyMask) | ticket << 1 | kClaim;
    Slot* slot = candidate.place.slot;
    if (!swap(slot->word, candidate.word, reserved_for(claim))) {
        return 0;
    }
    answer->evicted |= candidate.rank == Candidate::kOwing;
    return swap(slot->tag, candidate.place.tag, claim) ? claim : 0;
}

// No place: the answer is a refusal.
LimitTable::Place LimitTable::insert(const Near& near, uint64_t key, uint64_t now_ns,
                                     WhenFull when_full, LimitAnswer* answer) noexcept {
    uint64_t known_claim = 0;  // could be seen before the look began
    for (unsigned round = 0; round < kRoundsMax; round++) {
        const Sight sight = look(near, key);
        if (sight.settled.slot != nullptr) {
            return sight.settled;
        }
        const Place& claim = sight.claim;
        if (claim.slot == nullptr) {
            const Candidate candidate = choose(near, now_ns);
            if (candidate.rank == Candidate::kOwing && when_full == WhenFull::kRefuse) {
                answer->refuse_full(candidate.word - now_ns);
                return {};
            }
            known_claim = take(candidate, key, answer);
        } else if (claim.tag != known_claim || sight.withdrew) {
            known_claim = claim.tag;
        } else if (swap(claim.slot->tag, claim.tag, claim.tag & ~kClaim)) {
            return {claim.slot, claim.tag & ~kClaim};
        }
    }
    answer->refuse_full(0);
    return {};
}

void LimitTable::take_back(Slot* slot, const GcraLimit& limit, uint64_t charged_tat,
                           uint64_t now_ns, uint64_t n) noexcept {
    uint64_t word = slot->word.load();
    while (!is_reserved(word) && !slot->word.compare_exchange_weak(
                                     word, limit.given_back(word, charged_tat, now_ns, n))) {}
}

// A word that cannot be would turn its key away until then.
void LimitTable::heal(Slot* slot, const GcraLimit& limit, uint64_t word, uint64_t now_ns) noexcept {
    const uint64_t healed = limit.healed(word, now_ns);
    if (healed != word) {
        swap(slot->word, word, healed);
    }
}

// False if the slot turned out to be somebody else's: nothing was charged.
bool LimitTable::charge_at(const Place& place, const GcraLimit& limit, uint64_t now_ns, uint64_t n,
                           LimitAnswer* answer) noexcept {
    Slot* slot = place.slot;
    // It ends: whoever makes the CAS fail was admitted, which the limit bounds.
    for (uint64_t word = slot->word.load();;) {
        if (is_reserved(word) && word != reserved_for(place.tag)) {
            swap(slot->tag, place.tag, 0);
            return false;
        }
        answer->tat = is_reserved(word) ? 0 : word;
        answer->judgement = limit.judge(answer->tat, now_ns, n);
        if (!answer->judgement.admitted()) {
            if (slot->tag.load() != place.tag) {
                return false;
            }
            heal(slot, limit, answer->tat, now_ns);
            return true;
        }
        const uint64_t spent = limit.spent(answer->tat, now_ns, n);
        if (slot->word.compare_exchange_weak(word, spent)) {
            answer->tat = spent;
            if (slot->tag.load() == place.tag) {
                return true;
            }
            take_back(slot, limit, spent, now_ns, n);
            return false;
        }
    }
}

LimitAnswer LimitTable::charge(uint64_t key, const GcraLimit& limit, uint64_t now_ns, uint64_t n,
                               WhenFull when_full) noexcept {
    LimitAnswer answer;
    const Near slots = near(key);
    for (unsigned round = 0; round < kRoundsMax; round++) {
        Place place = find(slots, key);
        if (place.slot == nullptr) {
            answer.tat = 0;
            answer.judgement = limit.judge(0, now_ns, n);
            if (!answer.judgement.admitted()) {
                return answer;
            }
            place = insert(slots, key, now_ns, when_full, &answer);
        }
        if (place.slot == nullptr || charge_at(place, limit, now_ns, n, &answer)) {
            return answer;
        }
    }
    answer.refuse_full(0);
    return answer;
}

LimitAnswer LimitTable::check(uint64_t key, const GcraLimit& limit, uint64_t now_ns,
                              uint64_t n) const noexcept {
    LimitAnswer answer;
    const Near slots = near(key);
    for (unsigned round = 0; round < kRoundsMax; round++) {
        const Place place = find(slots, key);
        if (place.slot == nullptr) {
            break;
        }
        const uint64_t word = place.slot->word.load();
        if (place.slot->tag.load() == place.tag) {
            answer.tat = is_reserved(word) ? 0 : word;
            heal(place.slot, limit, answer.tat, now_ns);
            break;
        }
    }
    answer.judgement = limit.judge(answer.tat, now_ns, n);
    return answer;
}

void LimitTable::give_back(uint64_t key, const GcraLimit& limit, uint64_t charged_tat,
                           uint64_t now_ns, uint64_t n) noexcept {
    const Place place = find(near(key), key);
    if (place.slot != nullptr) {
        take_back(place.slot, limit, charged_tat, now_ns, n);
    }
}

// False if the slot turned out to be somebody else's.
bool LimitTable::raise_at(const Place& place, uint64_t tat) noexcept {
    Slot* slot = place.slot;
    for (uint64_t word = slot->word.load();;) {
        if (is_reserved(word) && word != reserved_for(place.tag)) {
            swap(slot->tag, place.tag, 0);
            return false;
        }
        if (!is_reserved(word) && word >= tat) {
            return slot->tag.load() == place.tag;
        }
        if (slot->word.compare_exchange_weak(word, tat)) {
            return slot->tag.load() == place.tag;
        }
    }
}

void LimitTable::raise(uint64_t key, uint64_t now_ns, uint64_t tat, WhenFull when_full) noexcept {
    LimitAnswer answer;
    const Near slots = near(key);
    for (unsigned round = 0; round < kRoundsMax; round++) {
        Place place = find(slots, key);
        if (place.slot == nullptr) {
            place = insert(slots, key, now_ns, when_full, &answer);
        }
        if (place.slot == nullptr || raise_at(place, tat)) {
            return;
        }
    }
}

size_t LimitTable::slots() const noexcept {
    return header_->groups * kGroupSlots;
}

size_t LimitTable::used_slots(uint64_t now_ns) const noexcept {
    size_t used = 0;
    for (size_t i = 0; i < header_->groups; i++) {
        for (const Slot& slot : groups_[i].slots) {
            const uint64_t word = slot.word.load(std::memory_order_relaxed);
            used += !is_reserved(word) && word > now_ns;
        }
    }
    return used;
}

}  // namespace sluice
