// Turns rows of the fresh frames of a batch into COPY's bytes: each row gets its id and created_at
// in front and is otherwise passed on as it is. Counts the rows by minute and level on the way, and
// notes their devices for who asks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/load/actions.hpp"
#include "daemon/load/device_set.hpp"

namespace sluice {

class CopyRows {
  public:
    CopyRows(const Batch& batch, const RowRange& rows, DeviceSet* devices = nullptr);

    // Appends rows to chunk until it holds at least bytes or all are written; false when there was
    // nothing left to append.
    bool next_chunk(size_t bytes, std::string* chunk);

    // Of what was written so far; minutes ascending, each (minute, level) once.
    [[nodiscard]] const std::vector<MinuteCount>& counts() const noexcept { return counts_; }

  private:
    void begin_frame(const BatchFrame& frame);
    void append_row(std::string_view row, std::string* chunk);
    void end_frame(int64_t receive_time_ms);

    const Batch& batch_;
    DeviceSet* devices_;
    size_t frame_ = 0;  // of the batch, the next or the one that rest_ belongs to
    std::string_view rest_;
    uint64_t rows_left_;
    int64_t row_id_ = 0;
    char created_at_[32];  // with a tab on each side
    size_t created_at_bytes_ = 0;
    uint64_t frame_counts_[kLevelCount] = {};
    std::vector<MinuteCount> counts_;
};

// A row without a level counts as the lowest: Postgres refuses it anyway.
[[nodiscard]] Level level_of_row(std::string_view row) noexcept;

// COPY's bytes for a few rows that meet every rule, one of each level, with this created_at.
[[nodiscard]] std::string good_rows(int64_t created_at_ms);

}  // namespace sluice
