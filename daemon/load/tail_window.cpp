#include "daemon/load/tail_window.hpp"

#include <algorithm>

namespace sluice {
namespace {

// Of an entry in Redis, besides its rows.
constexpr uint64_t kEntryOverheadBytes = 64;
// Of Redis' memory, however much is set.
constexpr double kMemoryShareMax = 1.0 / 16;
// Taken of Redis' memory: from here on the window becomes smaller, up to where nothing is left of
// it. An edge that is not told otherwise sheds from 0.6 on.
constexpr double kTakenFullWindow = 0.4;
constexpr double kTakenNoWindow = 0.5;

}  // namespace

void TailWindow::set_bytes_max(uint64_t bytes_max) noexcept {
    const TailKept kept{0, entry_bytes()};
    bytes_max_ = bytes_max;
    std::fill(parts_, parts_ + kParts, Part{});
    if (told_) {
        told_ = false;
        told(kept);
    }
}

void TailWindow::seen(uint64_t rows_bytes) noexcept {
    if (parts_[newest_].bytes >= part_bytes()) {
        newest_ = (newest_ + 1) % kParts;
        parts_[newest_] = Part{};
    }
    ++parts_[newest_].entries;
    parts_[newest_].bytes += rows_bytes + kEntryOverheadBytes;
}

// Worth a quarter of the window, as the first entries that are seen may be of another kind; in the
// part that is used again last.
void TailWindow::told(const TailKept& kept) noexcept {
    if ((!told_ || entry_bytes() == 0) && kept.entry_bytes != 0) {
        const uint64_t entries = std::max<uint64_t>(bytes_max_ / 4 / kept.entry_bytes, 1);
        parts_[(newest_ + kParts - 1) % kParts] = {entries, entries * kept.entry_bytes};
    }
    told_ = true;
}

TailWindow::Part TailWindow::sum() const noexcept {
    Part all;
    for (const Part& part : parts_) {
        all.entries += part.entries;
        all.bytes += part.bytes;
    }
    return all;
}

uint64_t TailWindow::entry_bytes() const noexcept {
    const Part all = sum();
    return all.entries == 0 ? 0 : all.bytes / all.entries;
}

uint64_t TailWindow::bytes() const noexcept {
    if (memory_.max_bytes == 0) {
        return bytes_max_;
    }
    const auto max = static_cast<double>(memory_.max_bytes);
    const double taken = static_cast<double>(memory_.used_bytes) / max;
    const double share = (kTakenNoWindow - taken) / (kTakenNoWindow - kTakenFullWindow);
    const double most = std::min(static_cast<double>(bytes_max_), max * kMemoryShareMax);
    return static_cast<uint64_t>(most * std::clamp(share, 0.0, 1.0));
}

uint64_t TailWindow::entries() const noexcept {
    const uint64_t room = bytes();
    if (room == 0) {
        return 0;
    }
    if (!told_) {
        return UINT64_MAX;
    }
    const uint64_t each = entry_bytes();
    return each == 0 ? 0 : room / each;
}

}  // namespace sluice
