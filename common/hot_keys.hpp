// Keys that were admitted something of which the other edges have not heard yet, in memory that
// several processes share: a list of fixed size in which nothing is allocated or locked. Each
// worker adds what it admits; one of them tells the others, key by key. Amounts are in ns of what
// they cost at the rate of their limit.
//
// Of one key at most so much may be untold as the caller says, and what is being told counts until
// told(): that bounds what an edge lets in that the others do not know.
//
// A worker may be killed at any point: it leaves behind at most an amount that is told though it
// was not admitted, or a slot that nobody uses any more.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sluice {

class HotKeys {
  public:
    static constexpr uint64_t kUntoldMaxNs = uint64_t{1} << 46;  // 19 hours

    static constexpr size_t kSlotsMax = 4096;

    // What is told in; less is kept until it is as much.
    static constexpr uint64_t kGrainNs = 1000;

    enum class Added : uint8_t {
        kYes,
        kBeyond,  // more would be untold than may be
        kAbsent,  // the key is not in the list; insert() it
        kFull,    // nor is there room for it
    };

    struct Telling {
        uint64_t key = 0;
        uint64_t name = 0;
        uint64_t us = 0;
    };

    HotKeys() noexcept = default;

    // What a list takes of a block of so many bytes; 0: the block is too small for one.
    [[nodiscard]] static size_t bytes_in(size_t block_bytes) noexcept;

    // Makes a list of memory that nobody uses yet, of bytes_in() bytes and aligned to a cache line.
    static void create(void* memory, size_t bytes) noexcept;
    [[nodiscard]] static HotKeys attach(void* memory, size_t bytes) noexcept;

    [[nodiscard]] bool has(uint64_t key) const noexcept;
    [[nodiscard]] uint64_t untold_ns(uint64_t key) const noexcept;

    [[nodiscard]] Added add(uint64_t key, uint64_t ns, uint64_t most_ns) noexcept;

    // name is what the key is called where it is told; the same on all edges. Two workers that
    // insert a key at once may list it twice: each is told, and only one goes on being added to.
    [[nodiscard]] Added insert(uint64_t key, uint64_t name, uint64_t ns, uint64_t most_ns) noexcept;

    // It was not admitted after all. What is told already stays told.
    void take_off(uint64_t key, uint64_t ns) noexcept;

    // For the one that tells. take() answers false if less than least_ns is to be told of slot i;
    // told() ends it, however it went, and answers what was added since. Were there two that tell,
    // nothing would be told twice, but more could be untold than may be.
    [[nodiscard]] size_t slots() const noexcept { return slots_count_; }
    [[nodiscard]] bool take(size_t i, uint64_t least_ns, Telling* out) noexcept;
    uint64_t told(size_t i) noexcept;

    // Whether there is anything to be told of slot i.
    [[nodiscard]] bool waits(size_t i) const noexcept;

    // Nobody will say told() any more: the one that told is gone.
    void all_told() noexcept;

  private:
    // A state: what is untold, whether the slot is being taken, and how often it was taken. A slot
    // of which nothing is untold and nothing being told may be taken by anyone, by a CAS on its
    // state; whoever adds to the key that was there fails on his CAS.
    struct Slot {
        std::atomic<uint64_t> state;
        std::atomic<uint64_t> key;
        std::atomic<uint64_t> name;
        std::atomic<uint64_t> telling_ns;
    };

    static constexpr size_t kNearSlots = 8;

    Slot* near(uint64_t key) const noexcept;
    Slot* find(uint64_t key, uint64_t* state) const noexcept;

    Slot* slots_ = nullptr;
    size_t slots_count_ = 0;
};

}  // namespace sluice
