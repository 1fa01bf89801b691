#include "daemon/load/batch.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <set>

namespace sluice {
namespace {

// By time and producer id, of frames and dead letters.
template <typename Keyed>
int compare_keys(const Keyed& a, const Keyed& b) noexcept {
    if (a.receive_time_ms != b.receive_time_ms) {
        return a.receive_time_ms < b.receive_time_ms ? -1 : 1;
    }
    return memcmp(a.producer_id.data(), b.producer_id.data(), a.producer_id.size());
}

}  // namespace

uint64_t Batch::bytes_of(const Entry& entry) noexcept {
    // A reply of Redis has some twenty objects an entry, besides its values.
    constexpr uint64_t kObjects = 800;
    return kObjects + entry.frame.rows.size() + entry.frame.records * sizeof(BatchRow) +
           entry.other_bytes;
}

void Batch::add(const Entry& entry) {
    if (entry.error == FrameError::kNone) {
        BatchFrame frame;
        frame.id = entry.id;
        frame.frame = entry.frame;
        frames_.push_back(frame);
    } else {
        DeadLetter letter;
        letter.id = entry.id;
        letter.receive_time_ms = entry.frame.receive_time_ms;
        letter.producer_id = entry.frame.producer_id;
        letter.reason = entry.reason;
        letter.bytes = entry.frame.rows;
        dead_entries_.push_back(std::move(letter));
    }
    ids_.push_back(entry.id);
    rows_ += entry.frame.records;
    bytes_ += bytes_of(entry);
    rows_bytes_ += entry.frame.rows.size();
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
    std::sort(dead_entries_.begin(), dead_entries_.end(),
              [](const DeadLetter& a, const DeadLetter& b) { return compare_keys(a, b) < 0; });
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
    fresh_rows_.clear();
    fresh_ = 0;
    for (BatchFrame& frame : frames_) {
        frame.fresh = std::binary_search(fresh_ids.begin(), fresh_ids.end(), frame.first_row_id);
        if (frame.fresh) {
            format_timestamp(frame.frame.receive_time_ms * 1000, frame.created_at);
            fresh_rows_.add(static_cast<uint32_t>(&frame - frames_.data()), frame.frame.rows);
            ++fresh_;
        }
    }
    fresh_rows_.sort();
}

DeadLetter Batch::dead_letter(uint64_t row, std::string sqlstate, std::string reason) const {
    const BatchRow& refused = fresh_rows_[row];
    const BatchFrame& frame = frames_[refused.frame()];
    DeadLetter letter;
    letter.id = frame.id;
    letter.receive_time_ms = frame.frame.receive_time_ms;
    letter.producer_id = frame.frame.producer_id;
    letter.position = static_cast<int32_t>(refused.position());
    letter.sqlstate = std::move(sqlstate);
    letter.reason = std::move(reason);
    letter.bytes = refused.text().substr(0, refused.text().size() - 1);
    return letter;
}

}  // namespace sluice
