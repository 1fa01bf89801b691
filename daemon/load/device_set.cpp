#include "daemon/load/device_set.hpp"

#include <algorithm>
#include <cstring>

namespace sluice {

// Not in the slot where it belongs.
void DeviceSet::saw_elsewhere(std::string_view device, uint64_t hash, int64_t seen_ms) {
    for (int probe = 0; probe < kProbesMax; ++probe) {
        const size_t at = ((hash >> kSlotShift) + static_cast<size_t>(probe)) % kSlots;
        Slot& slot = slots_[at];
        if (slot.hash == hash) {
            slot.seen_ms = std::max(slot.seen_ms, seen_ms);
            return;
        }
        if (slot.hash == 0) {
            if (devices_.size() == kDevicesMax || device.size() > sizeof Device::text) {
                break;
            }
            slot = {hash, seen_ms};
            Device& added = devices_.emplace_back();
            added.slot = static_cast<uint32_t>(at);
            added.bytes = static_cast<uint8_t>(device.size());
            memcpy(added.text, device.data(), device.size());
            return;
        }
    }
    ++left_out_;
}

void DeviceSet::add(const DeviceSet& other) {
    for (size_t number = 0; number < other.size(); ++number) {
        saw(other.device(number), other.seen_ms(number));
    }
    left_out_ += other.left_out_;
}

void DeviceSet::clear() noexcept {
    for (const Device& device : devices_) {
        slots_[device.slot] = Slot();
    }
    devices_.clear();
    left_out_ = 0;
}

}  // namespace sluice
