#include "daemon/load/copy_rows.hpp"

#include <charconv>
#include <cstring>

#include "common/timestamp.hpp"

namespace sluice {

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

CopyRows::CopyRows(const Batch& batch, const RowRange& rows, DeviceSet* devices) noexcept
    : batch_(batch),
      devices_(devices),
      next_(rows.first),
      end_(rows.first + rows.count),
      minute_(minutes_.end()) {}

bool CopyRows::next_chunk(size_t bytes, std::string* chunk) {
    const bool any = next_ < end_;
    for (; next_ < end_ && chunk->size() < bytes; ++next_) {
        const BatchRow& row = batch_.fresh_rows()[next_];
        const BatchFrame& frame = batch_.frames()[row.frame()];
        char head[24 + kTimestampBytes + 2];
        char* end = std::to_chars(head, head + 24, frame.first_row_id + row.position()).ptr;
        *end++ = '\t';
        memcpy(end, frame.created_at, sizeof frame.created_at);
        end += sizeof frame.created_at;
        *end++ = '\t';
        chunk->append(head, static_cast<size_t>(end - head));
        chunk->append(row.text());
        count(row, frame.frame.receive_time_ms);
    }
    return any;
}

// Nearly all rows are of one minute.
void CopyRows::count(const BatchRow& row, int64_t receive_time_ms) {
    const int64_t minute = receive_time_ms / 60000;
    if (minute_ == minutes_.end() || minute_->first != minute) {
        minute_ = minutes_.try_emplace(minute).first;
    }
    ++minute_->second[static_cast<unsigned>(level_of_row(row.text()))];
    if (devices_ != nullptr) {
        devices_->saw(row.device(), receive_time_ms);
    }
}

std::vector<MinuteCount> CopyRows::counts() const {
    std::vector<MinuteCount> counts;
    for (const auto& [minute, levels] : minutes_) {
        for (unsigned level = 0; level < kLevelCount; ++level) {
            if (levels[level] != 0) {
                counts.push_back({minute, static_cast<Level>(level), levels[level]});
            }
        }
    }
    return counts;
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
