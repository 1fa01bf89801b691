#include "daemon/load/batch.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <set>

namespace sluice {
namespace {

int compare_keys(const Frame& a, const Frame& b) noexcept {
    if (a.receive_time_ms != b.receive_time_ms) {
        return a.receive_time_ms < b.receive_time_ms ? -1 : 1;
    }
    return memcmp(a.producer_id.data(), b.producer_id.data(), a.producer_id.size());
}

}  // namespace

Entry read_entry(const StreamId& id, const EntryField* fields, size_t count) noexcept {
    Entry entry;
    entry.id = id;
    entry.error = read_frame(fields, count, &entry.frame);
    if (entry.error == FrameError::kNone) {
        const std::string_view rows = entry.frame.rows;
        const auto newlines = std::count(rows.begin(), rows.end(), '\n');
        if (newlines != static_cast<ptrdiff_t>(entry.frame.records)) {
            entry.error = FrameError::kDamaged;
        }
    }
    return entry;
}

void Batch::add(const Entry& entry) {
    BatchFrame frame;
    frame.id = entry.id;
    frame.frame = entry.frame;
    frames_.push_back(frame);
    ids_.push_back(entry.id);
    rows_ += entry.frame.records;
    bytes_ += entry.frame.rows.size();
}

void Batch::keep(std::unique_ptr<EntryBytes> bytes) {
    kept_.push_back(std::move(bytes));
}

void Batch::close() {
    std::sort(frames_.begin(), frames_.end(), [](const BatchFrame& a, const BatchFrame& b) {
        return compare_keys(a.frame, b.frame) < 0;
    });
    const auto twice = [](const BatchFrame& a, const BatchFrame& b) {
        return compare_keys(a.frame, b.frame) == 0;
    };
    frames_.erase(std::unique(frames_.begin(), frames_.end(), twice), frames_.end());
    // A keyed request that was sent again differs in its time: the first one counts.
    std::set<ProducerId> keys;
    const auto known = [&keys](const BatchFrame& frame) {
        return is_keyed(frame.frame.producer_id) && !keys.insert(frame.frame.producer_id).second;
    };
    frames_.erase(std::remove_if(frames_.begin(), frames_.end(), known), frames_.end());
}

bool Batch::assign_row_ids(int64_t* next, int64_t end) noexcept {
    for (; assigned_ < frames_.size(); ++assigned_) {
        BatchFrame& frame = frames_[assigned_];
        if (end - *next < static_cast<int64_t>(frame.frame.records)) {
            return false;
        }
        frame.first_row_id = *next;
        *next += frame.frame.records;
    }
    return true;
}

void Batch::mark_fresh(std::vector<int64_t> fresh_ids) {
    assert(assigned_ == frames_.size());
    std::sort(fresh_ids.begin(), fresh_ids.end());
    fresh_rows_ = 0;
    fresh_ = 0;
    for (BatchFrame& frame : frames_) {
        frame.fresh = std::binary_search(fresh_ids.begin(), fresh_ids.end(), frame.first_row_id);
        fresh_rows_ += frame.fresh ? frame.frame.records : 0;
        fresh_ += frame.fresh ? 1 : 0;
    }
}

}  // namespace sluice
