// Frames and batches made by hand.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "daemon/load/batch.hpp"

namespace sluice::test {

inline constexpr int64_t kNoonMs = 1731585600000;  // 2024-11-14 12:00 UTC

// What a reply owns: here the rows, there a redisReply.
class OwnedRows : public EntryBytes {
  public:
    std::string& add(std::string rows) {
        rows_.push_back(std::make_unique<std::string>(std::move(rows)));
        return *rows_.back();
    }

  private:
    std::vector<std::unique_ptr<std::string>> rows_;
};

inline std::string make_rows(uint32_t count, const char* level = "INFO") {
    std::string rows;
    for (uint32_t i = 0; i < count; ++i) {
        rows.append("device\t").append(level).append("\tmessage\t{}\t\\N\n");
    }
    return rows;
}

inline ProducerId make_producer_id(uint32_t number) {
    ProducerId id{};
    for (int i = 0; i < 4; ++i) {
        id[12 + i] = static_cast<uint8_t>(number >> (24 - 8 * i));
    }
    return id;
}

inline Entry make_entry(OwnedRows* owner, StreamId id, uint32_t producer, uint32_t records,
                        int64_t t_ms = kNoonMs, const char* level = "INFO") {
    Entry entry;
    entry.id = id;
    entry.frame.producer_id = make_producer_id(producer);
    entry.frame.receive_time_ms = t_ms;
    entry.frame.records = records;
    entry.frame.rows = owner->add(make_rows(records, level));
    return entry;
}

}  // namespace sluice::test
