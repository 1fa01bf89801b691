#include "daemon/load/copy_rows.hpp"

#include <charconv>
#include <cstring>

#include "common/timestamp.hpp"

namespace sluice {
namespace {

static_assert(kTimestampBytes + 2 <= 32, "created_at_ holds a timestamp between two tabs");

}  // namespace

// The level stands behind the first tab, and its first letter tells the five apart.
Level level_of_row(std::string_view row) noexcept {
    const size_t tab = row.find('\t');
    if (tab != std::string_view::npos) {
        for (unsigned level = 0; level < kLevelCount; ++level) {
            if (row[tab + 1] == kLevelNames[level][0]) {
                return static_cast<Level>(level);
            }
        }
    }
    return Level::kDebug;
}

CopyRows::CopyRows(const Batch& batch, const RowRange& rows, DeviceSet* devices)
    : batch_(batch), devices_(devices), rows_left_(rows.count) {
    if (rows_left_ > 0) {
        const RowPlace place = batch.place_of(rows.first);
        frame_ = place.frame;
        begin_frame(batch.frames()[frame_]);
        rest_ = place.rest;
        row_id_ += static_cast<int64_t>(place.position);
    }
}

bool CopyRows::next_chunk(size_t bytes, std::string* chunk) {
    bool appended = false;
    const std::vector<BatchFrame>& frames = batch_.frames();
    while (rows_left_ > 0 && chunk->size() < bytes) {
        if (rest_.empty()) {
            while (!frames[frame_].fresh) {
                ++frame_;
            }
            begin_frame(frames[frame_]);
        }
        const size_t row_bytes = rest_.find('\n') + 1;
        append_row(rest_.substr(0, row_bytes), chunk);
        appended = true;
        rest_.remove_prefix(row_bytes);
        --rows_left_;
        if (rest_.empty() || rows_left_ == 0) {
            end_frame(frames[frame_].frame.receive_time_ms);
            ++frame_;
        }
    }
    return appended;
}

void CopyRows::begin_frame(const BatchFrame& frame) {
    rest_ = frame.frame.rows;
    row_id_ = frame.first_row_id;
    char* end = created_at_;
    *end++ = '\t';
    end = format_timestamp(frame.frame.receive_time_ms * 1000, end);
    *end++ = '\t';
    created_at_bytes_ = static_cast<size_t>(end - created_at_);
}

void CopyRows::append_row(std::string_view row, std::string* chunk) {
    char prefix[64];
    char* end = std::to_chars(prefix, prefix + 24, row_id_++).ptr;
    memcpy(end, created_at_, created_at_bytes_);
    end += created_at_bytes_;
    chunk->append(prefix, static_cast<size_t>(end - prefix));
    chunk->append(row);
    ++frame_counts_[static_cast<unsigned>(level_of_row(row))];
    if (devices_ != nullptr) {
        devices_->saw(row.substr(0, row.find('\t')), batch_.frames()[frame_].frame.receive_time_ms);
    }
}

// Frames are sorted by time: a minute's counts are among the last ones.
void CopyRows::end_frame(int64_t receive_time_ms) {
    const int64_t minute = receive_time_ms / 60000;
    for (unsigned level = 0; level < kLevelCount; ++level) {
        if (frame_counts_[level] == 0) {
            continue;
        }
        MinuteCount* found = nullptr;
        for (auto it = counts_.rbegin(); it != counts_.rend() && it->minute == minute; ++it) {
            if (it->level == static_cast<Level>(level)) {
                found = &*it;
            }
        }
        if (found != nullptr) {
            found->n += frame_counts_[level];
        } else {
            counts_.push_back({minute, static_cast<Level>(level), frame_counts_[level]});
        }
        frame_counts_[level] = 0;
    }
}

std::string good_rows(int64_t created_at_ms) {
    char time[kTimestampBytes];
    const std::string created_at(time, format_timestamp(created_at_ms * 1000, time));
    std::string rows;
    for (unsigned level = 0; level < kLevelCount; ++level) {
        rows.append(std::to_string(level + 1)).append("\t").append(created_at).append("\t");
        rows.append(kDeviceIdBytesMax, 'd').append("\t").append(kLevelNames[level]).append("\t");
        rows.append("a message \\t \xc3\xa4 of usual length, with an umlaut and an escape\t");
        rows.append("{\"text\": \"a\\\\nb\", \"number\": -1.5e3, \"list\": [true, null, {}]}\t");
        rows.append(created_at).append("\n");
    }
    return rows;
}

}  // namespace sluice
