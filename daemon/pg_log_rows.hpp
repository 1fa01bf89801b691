// What stores rows in logs, for loaders and for what stores rows that come in no frame: a dead
// letter that is stored again, or another system's table.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/load/actions.hpp"
#include "daemon/pg_connection.hpp"

namespace sluice {

// COPYs so many rows into logs, in the open transaction. next_chunk appends some to the empty
// chunk, and returns false when none are left. Rows that are more or fewer than that are kBadData.
[[nodiscard]] bool copy_into_logs(PgConnection* connection, uint64_t rows,
                                  const std::function<bool(std::string*)>& next_chunk,
                                  std::string* chunk);
// Whether rows that nothing is wrong with are taken; they are not kept.
[[nodiscard]] bool copy_good_rows(PgConnection* connection, int64_t created_at_ms);
[[nodiscard]] bool count_rows(PgConnection* connection, const std::vector<MinuteCount>& counts,
                              const std::string& slot);
// *inserted is false if the same one was there before.
[[nodiscard]] bool insert_dead_letter(PgConnection* connection, const DeadLetter& letter,
                                      bool* inserted);
[[nodiscard]] bool reserve_row_ids(PgConnection* connection, int64_t* first_id);

// Around a COPY that may fail; when it did, the transaction goes on as it was before.
[[nodiscard]] bool set_savepoint(PgConnection* connection);
[[nodiscard]] bool release_savepoint(PgConnection* connection);
[[nodiscard]] bool undo_to_savepoint(PgConnection* connection);

struct LogRow {
    int64_t id = 0;
    int64_t created_at_us = 0;
    std::string text;  // as in a frame, without its newline
};

struct RefusedRow {
    size_t index;
    std::string sqlstate;
    std::string reason;
};

class LogRows {
  public:
    // slot: under which name they are counted.
    LogRows(PgConnection* connection, std::string slot)
        : connection_(*connection), slot_(std::move(slot)) {}

    // Not within a transaction.
    [[nodiscard]] bool make_partition_of(int64_t created_at_us);
    [[nodiscard]] bool next_id(int64_t* id);

    // In the open transaction: stores and counts them, but for those that Postgres refuses for
    // their values. If it refuses rows that are good as well, it is not the rows: false.
    [[nodiscard]] bool store(const std::vector<LogRow>& rows, std::vector<RefusedRow>* refused);

  private:
    bool copy(const std::vector<LogRow>& rows, size_t first, size_t count);
    bool search(const std::vector<LogRow>& rows, std::vector<RefusedRow>* refused);
    bool count(const std::vector<LogRow>& rows, const std::vector<RefusedRow>& refused);

    PgConnection& connection_;
    std::string slot_;
    std::string chunk_;
    std::set<int64_t> days_;  // that have a partition
    int64_t next_id_ = 0;
    int64_t ids_end_ = 0;
};

}  // namespace sluice
