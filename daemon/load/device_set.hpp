// Devices, and when each was seen last: bounded, and cheap enough to be told of every row.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/record_rules.hpp"

namespace sluice {

class DeviceSet {
  public:
    // More are left out.
    static constexpr size_t kDevicesMax = 10000;

    DeviceSet() : slots_(kSlots) {}

    // The device as COPY text.
    void saw(std::string_view device, int64_t seen_ms) {
        const uint64_t hash = hash_of(device);
        Slot& slot = slots_[hash >> kSlotShift];
        if (slot.hash == hash) {
            slot.seen_ms = slot.seen_ms < seen_ms ? seen_ms : slot.seen_ms;
        } else {
            saw_elsewhere(device, hash, seen_ms);
        }
    }
    void add(const DeviceSet& other);
    void clear() noexcept;

    [[nodiscard]] size_t size() const noexcept { return devices_.size(); }
    [[nodiscard]] bool empty() const noexcept { return devices_.empty(); }
    [[nodiscard]] std::string_view device(size_t number) const noexcept {
        return {devices_[number].text, devices_[number].bytes};
    }
    [[nodiscard]] int64_t seen_ms(size_t number) const noexcept {
        return slots_[devices_[number].slot].seen_ms;
    }
    // How often a device had no room since the set was cleared.
    [[nodiscard]] uint64_t left_out() const noexcept { return left_out_; }

  private:
    static constexpr size_t kSlots = 32768;  // sparsely filled
    static constexpr int kSlotShift = 49;    // only the upper bits depend on all of a name
    static_assert(kSlots == size_t{1} << (64 - kSlotShift));
    static constexpr int kProbesMax = 16;  // names made to meet in one slot cost no more

    // A row reads one of these and no name: of two devices with one hash the second is missed,
    // which is as likely as never.
    struct Slot {
        uint64_t hash = 0;  // 0: free
        int64_t seen_ms = 0;
    };
    struct Device {
        uint32_t slot;
        uint8_t bytes;
        char text[2 * kDeviceIdBytesMax];
    };

    static uint64_t mixed(uint64_t hash, uint64_t word) noexcept {
        hash = (hash ^ word) * 0x9e3779b97f4a7c15;
        return hash ^ hash >> 32;
    }
    // Eight bytes at a time; the last eight may be some of those before.
    static uint64_t hash_of(std::string_view text) noexcept {
        if (text.size() < sizeof(uint64_t)) {
            return hash_of_short(text);
        }
        const char* const last = text.data() + text.size() - sizeof(uint64_t);
        uint64_t hash = mixed(mixed(0, text.size()), word_at(text.data()));
        for (const char* at = text.data() + sizeof(uint64_t); at < last; at += sizeof(uint64_t)) {
            hash = mixed(hash, word_at(at));
        }
        return mixed(hash, word_at(last)) | 1;
    }
    static uint64_t hash_of_short(std::string_view text) noexcept {
        uint64_t word = 0;
        for (const char c : text) {
            word = word << 8 | static_cast<uint8_t>(c);
        }
        return mixed(mixed(0, text.size()), word) | 1;
    }
    static uint64_t word_at(const char* text) noexcept {
        uint64_t word = 0;
        __builtin_memcpy(&word, text, sizeof word);
        return word;
    }
    void saw_elsewhere(std::string_view device, uint64_t hash, int64_t seen_ms);

    std::vector<Slot> slots_;
    std::vector<Device> devices_;
    uint64_t left_out_ = 0;
};

}  // namespace sluice
