// Turns rows of a batch into COPY's bytes: each row gets its id and created_at in front and is
// otherwise passed on as it is. Counts the rows by minute and level on the way, and notes their
// devices for who asks.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/load/actions.hpp"
#include "daemon/load/device_set.hpp"

namespace sluice {

class CopyRows {
  public:
    CopyRows(const Batch& batch, const RowRange& rows, DeviceSet* devices = nullptr) noexcept;

    // Appends rows to chunk until it holds at least bytes or all are written; false when there was
    // nothing left to append.
    bool next_chunk(size_t bytes, std::string* chunk);

    // Of what was written so far; minutes ascending, each (minute, level) once.
    [[nodiscard]] std::vector<MinuteCount> counts() const;

  private:
    using Minute = std::array<uint64_t, kLevelCount>;

    void count(const BatchRow& row, int64_t receive_time_ms);

    const Batch& batch_;
    DeviceSet* devices_;
    uint64_t next_;
    uint64_t end_;
    std::map<int64_t, Minute> minutes_;
    std::map<int64_t, Minute>::iterator minute_;  // of the row before
};

// A row without a level counts as the lowest: Postgres refuses it anyway.
[[nodiscard]] Level level_of_row(std::string_view row) noexcept;

// COPY's bytes for a few rows that meet every rule, one of each level, with this created_at.
[[nodiscard]] std::string good_rows(int64_t created_at_ms);

}  // namespace sluice
