#include "common/hot_keys.hpp"

#include <algorithm>
#include <new>

namespace sluice {

namespace {

constexpr size_t kShareOfBlock = 8;  // an eighth

constexpr unsigned kAmountBits = 47;
constexpr uint64_t kAmountMask = (uint64_t{1} << kAmountBits) - 1;
constexpr uint64_t kClaim = uint64_t{1} << kAmountBits;
constexpr uint64_t kTaking = kClaim << 1;  // adds one to how often it was taken
static_assert(HotKeys::kUntoldMaxNs <= kAmountMask);

uint64_t amount(uint64_t state) {
    return state & kAmountMask;
}

bool is_claimed(uint64_t state) {
    return (state & kClaim) != 0;
}

bool may_be_added(uint64_t untold, uint64_t telling, uint64_t ns, uint64_t most_ns) {
    const uint64_t most = std::min(most_ns, HotKeys::kUntoldMaxNs);
    return untold + telling <= most && ns <= most - untold - telling;
}

}  // namespace

size_t HotKeys::bytes_in(size_t block_bytes) noexcept {
    const size_t slots = std::min(block_bytes / kShareOfBlock / sizeof(Slot), kSlotsMax);
    return (slots - slots % kNearSlots) * sizeof(Slot);
}

void HotKeys::create(void* memory, size_t bytes) noexcept {
    auto* slots = static_cast<Slot*>(memory);
    for (size_t i = 0; i < bytes / sizeof(Slot); i++) {
        Slot* slot = new (slots + i) Slot;
        slot->state.store(0);
        slot->key.store(0);
        slot->name.store(0);
        slot->telling_ns.store(0);
    }
}

HotKeys HotKeys::attach(void* memory, size_t bytes) noexcept {
    HotKeys keys;
    keys.slots_ = static_cast<Slot*>(memory);
    keys.slots_count_ = bytes / sizeof(Slot);
    return keys;
}

HotKeys::Slot* HotKeys::near(uint64_t key) const noexcept {
    const uint64_t hash = key * 0x9e3779b97f4a7c15 >> 32;
    return slots_ + (hash * (slots_count_ / kNearSlots) >> 32) * kNearSlots;
}

// In this order: a slot that is taken after its state was read condemns the state.
HotKeys::Slot* HotKeys::find(uint64_t key, uint64_t* state) const noexcept {
    Slot* slot = near(key);
    for (size_t i = 0; i < kNearSlots; i++, slot++) {
        *state = slot->state.load();
        if (!is_claimed(*state) && slot->key.load() == key) {
            return slot;
        }
    }
    return nullptr;
}

bool HotKeys::has(uint64_t key) const noexcept {
    uint64_t state = 0;
    return find(key, &state) != nullptr;
}

uint64_t HotKeys::untold_ns(uint64_t key) const noexcept {
    uint64_t state = 0;
    const Slot* slot = find(key, &state);
    return slot == nullptr ? 0 : amount(state) + slot->telling_ns.load();
}

HotKeys::Added HotKeys::add(uint64_t key, uint64_t ns, uint64_t most_ns) noexcept {
    uint64_t state = 0;
    while (Slot* slot = find(key, &state)) {
        if (!may_be_added(amount(state), slot->telling_ns.load(), ns, most_ns)) {
            return Added::kBeyond;
        }
        if (slot->state.compare_exchange_weak(state, state + ns)) {
            return Added::kYes;
        }
    }
    return Added::kAbsent;
}

HotKeys::Added HotKeys::insert(uint64_t key, uint64_t name, uint64_t ns,
                               uint64_t most_ns) noexcept {
    if (!may_be_added(0, 0, ns, most_ns)) {
        return Added::kBeyond;
    }
    Slot* slot = near(key);
    for (size_t i = 0; i < kNearSlots; i++, slot++) {
        uint64_t state = slot->state.load();
        // In this order: what is being told was untold before.
        if (is_claimed(state) || amount(state) >= kGrainNs || slot->telling_ns.load() != 0) {
            continue;
        }
        const uint64_t claim = (state - amount(state) + kTaking) | kClaim;
        if (slot->state.compare_exchange_strong(state, claim)) {
            slot->key.store(key);
            slot->name.store(name);
            slot->state.store((claim & ~kClaim) + ns);
            return Added::kYes;
        }
    }
    return Added::kFull;
}

void HotKeys::take_off(uint64_t key, uint64_t ns) noexcept {
    uint64_t state = 0;
    while (Slot* slot = find(key, &state)) {
        if (slot->state.compare_exchange_weak(state, state - std::min(ns, amount(state)))) {
            return;
        }
    }
}

bool HotKeys::take(size_t i, uint64_t least_ns, Telling* out) noexcept {
    Slot& slot = slots_[i];
    uint64_t state = slot.state.load();
    for (;;) {
        const uint64_t ns = amount(state) - amount(state) % kGrainNs;
        if (is_claimed(state) || ns < std::max(least_ns, kGrainNs)) {
            slot.telling_ns.store(0);
            return false;
        }
        // Before it is no longer untold, or the slot would look like one that may be taken.
        slot.telling_ns.store(ns);
        if (slot.state.compare_exchange_weak(state, state - ns)) {
            *out = {slot.key.load(), slot.name.load(), ns / kGrainNs};
            return true;
        }
    }
}

uint64_t HotKeys::told(size_t i) noexcept {
    slots_[i].telling_ns.store(0);
    return amount(slots_[i].state.load());
}

bool HotKeys::waits(size_t i) const noexcept {
    const uint64_t state = slots_[i].state.load(std::memory_order_relaxed);
    return !is_claimed(state) && amount(state) >= kGrainNs;
}

void HotKeys::all_told() noexcept {
    for (size_t i = 0; i < slots_count_; i++) {
        slots_[i].telling_ns.store(0);
    }
}

}  // namespace sluice
