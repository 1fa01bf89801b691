#include "daemon/load/copy_rows.hpp"

#include <charconv>
#include <cstring>

#include "common/timestamp.hpp"

namespace sluice {
namespace {

static_assert(kTimestampBytes + 2 <= 32, "created_at_ holds a timestamp between two tabs");

// The level stands behind the first tab, and its first letter tells the five apart. A row without
// a level counts as the lowest: Postgres refuses it anyway.
Level level_of(std::string_view row) noexcept {
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

}  // namespace

bool CopyRows::next_chunk(size_t bytes, std::string* chunk) {
    bool appended = false;
    const std::vector<BatchFrame>& frames = batch_.frames();
    while (chunk->size() < bytes) {
        if (rest_.empty()) {
            while (frame_ < frames.size() && !frames[frame_].fresh) {
                ++frame_;
            }
            if (frame_ == frames.size()) {
                break;
            }
            begin_frame(frames[frame_]);
        }
        const size_t row_bytes = rest_.find('\n') + 1;
        append_row(rest_.substr(0, row_bytes), chunk);
        appended = true;
        rest_.remove_prefix(row_bytes);
        if (rest_.empty()) {
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
    ++frame_counts_[static_cast<unsigned>(level_of(row))];
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

}  // namespace sluice
