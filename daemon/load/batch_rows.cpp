#include "daemon/load/batch_rows.hpp"

#include <endian.h>

#include <algorithm>

namespace sluice {

void BatchRows::add(uint32_t frame, std::string_view rows) {
    for (uint32_t position = 0; !rows.empty(); ++position) {
        const size_t bytes = rows.find('\n') + 1;
        rows_.emplace_back(frame, position, rows.substr(0, bytes));
        rows.remove_prefix(bytes);
    }
}

// A key is eight bytes of the name, behind what all names begin with, which compare as the name
// does. Whether keys tell all names apart.
bool BatchRows::set_keys() noexcept {
    const std::string_view first = rows_[0].device();
    size_t common = first.size();
    size_t longest = 0;
    for (const BatchRow& row : rows_) {
        const std::string_view device = row.device();
        common = std::min(common, device.size());
        const auto* const differs =
            std::mismatch(device.begin(), device.begin() + common, first.begin()).first;
        common = static_cast<size_t>(differs - device.begin());
        longest = std::max(longest, device.size());
    }
    for (BatchRow& row : rows_) {
        const std::string_view rest = row.device().substr(common);
        uint64_t key = 0;
        __builtin_memcpy(&key, rest.data(), std::min(rest.size(), sizeof key));
        row.device_key_ = be64toh(key);
    }
    return longest <= common + sizeof(uint64_t);
}

void BatchRows::sort() {
    if (rows_.empty()) {
        return;
    }
    const bool keys_tell = set_keys();
    std::sort(rows_.begin(), rows_.end(), [keys_tell](const BatchRow& a, const BatchRow& b) {
        if (a.device_key_ != b.device_key_) {
            return a.device_key_ < b.device_key_;
        }
        const int order = keys_tell ? 0 : a.device().compare(b.device());
        if (order != 0) {
            return order < 0;
        }
        return a.frame_ != b.frame_ ? a.frame_ < b.frame_ : a.position_ < b.position_;
    });
}

}  // namespace sluice
