// The loader's core: which entries are read, stored, acknowledged and trimmed, and in what order,
// whatever fails. A state machine without I/O, clock or threads.
//
// Two lanes run beside each other, each with at most one action under way: next_redis() and
// next_pg() say what to do, redis_done() and pg_done() take the answer. So the next batch is read
// while Postgres stores this one:
//
//   Redis lane:     read -> filling batch ..................... ack -> trim
//   Postgres lane:            filling -> storing batch: ledger, copy, count, commit
//
// A batch is stored in one COPY. If Postgres refuses some of its rows it is stored carefully: a
// transaction from its beginning, in which the rows are copied in pieces, each of which can be
// undone alone, until the bad rows are found; they become dead letters in the same transaction. But
// before the first of them, rows that nothing is wrong with are tried: if Postgres refuses these as
// well it is not the rows, and nothing is stored until the table is as it should be.
//
// What makes it exactly once: a batch's frames are acknowledged only after a COMMIT that answered;
// a batch whose COMMIT may or may not have happened is stored again, and the ledger tells. What
// this consumer holds is forgotten when the connection to Redis breaks or the group is found
// missing, because ids may mean other entries from then on: everything unacknowledged is read
// again, and the ledger tells.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/load/actions.hpp"
#include "daemon/load/backlog.hpp"
#include "daemon/load/backoff.hpp"
#include "daemon/load/batch.hpp"
#include "daemon/load/measures.hpp"
#include "daemon/load/row_pieces.hpp"
#include "daemon/load/tail_window.hpp"
#include "daemon/load/trim.hpp"
#include "daemon/load/waiting.hpp"

namespace sluice {

struct LoadLimits {
    uint64_t batch_rows = 50000;
    uint64_t batch_bytes = 8 * 1024 * 1024;  // less while Postgres is slow
    int64_t batch_age_us = 50 * 1000;
    // Entries a read. Redis knows no limit in bytes, so this times the edge's largest frame is what
    // a read may bring at worst, when large entries follow many small ones.
    uint32_t read_count_max = 64;
    int64_t claim_interval_us = 15 * 1000 * 1000;
    int64_t trim_interval_us = 200 * 1000;
    int64_t prune_interval_us = 600LL * 1000 * 1000;
    int64_t ledger_keep_ms = 48LL * 3600 * 1000;
    uint64_t tail_window_bytes = 0;
    std::vector<std::string> trim_groups;  // all configured groups, the loader's own last
};

// Why Postgres refused a row: the classes of SQLSTATEs that are about data.
enum class DeadRow : uint8_t { kData, kConstraint, kLimit };
inline constexpr size_t kDeadRows = static_cast<size_t>(DeadRow::kLimit) + 1;

// Everything since the start; only ever grows. Nothing but numbers of 64 bits, so that it can be
// added up.
struct LoadCounts {
    uint64_t frames_stored = 0;
    uint64_t rows_stored = 0;
    uint64_t frames_duplicate = 0;
    uint64_t frames_late = 0;      // stored when their time may have been called settled
    uint64_t entries_claimed = 0;  // taken over from another consumer, or another life of this one
    uint64_t entries_acked = 0;
    uint64_t entries_trimmed = 0;
    uint64_t rows_dead = 0;                // dead letters: rows that Postgres refused
    uint64_t entries_dead = 0;             // dead letters: damaged, or plain and against a rule
    uint64_t entries_plain = 0;            // read and made into frames
    uint64_t entries_unknown_version = 0;  // seen and left in the stream
    uint64_t entries_gone = 0;             // lost: pending, but no longer in the stream
    uint64_t times_clamped = 0;
    uint64_t groups_made = 0;
    uint64_t state_losses = 0;  // times the group was found behind what had been read of it
    uint64_t redis_failures = 0;
    uint64_t pg_failures = 0;
    uint64_t batches_refused = 0;  // times a batch was refused whatever its rows
    uint64_t batches_careful = 0;  // times a batch was begun carefully
    uint64_t rows_dead_by[kDeadRows] = {};
    uint64_t redis_answers[kRedisStatuses] = {};  // by status, but for those that went well
    uint64_t pg_answers[kPgStatuses] = {};

    void add(const LoadCounts& other) noexcept;
};

// How it is now.
struct LoadGauges {
    bool redis_connected = false;
    bool postgres_connected = false;
    LoadState state;
    uint64_t pending = 0;  // entries of the whole group; known if the backlog is
    uint64_t buffered_bytes = 0;
    int64_t edges_ahead_ms = 0;
    int64_t edges_behind_ms = 0;
};

// How far a batch's transaction has come; begins anew after each failure.
struct StoreProgress {
    PgStep step = PgStep::kInsertLedger;
    int64_t began_at_us = 0;
    bool careful = false;
    uint64_t rows_copied = 0;                   // of the fresh ones, if not carefully
    uint64_t named_row = RowPieces::kNotNamed;  // by the COPY that made it careful
    RowPieces pieces;
    bool good_rows_taken = false;
    DeadLetter letter;        // of the row that was refused alone
    size_t entries_done = 0;  // of the batch's dead entries
    uint64_t rows_dead = 0;
    uint64_t rows_dead_by[kDeadRows] = {};
    uint64_t entries_dead = 0;
    std::map<std::pair<int64_t, Level>, uint64_t> counts;  // by minute and level
};

class LoaderCore {
  public:
    LoaderCore(LoadLimits limits, uint64_t seed);

    [[nodiscard]] RedisAction next_redis(const Now& now);
    void redis_done(const RedisAction& action, RedisResult result, const Now& now);

    [[nodiscard]] PgAction next_pg(const Now& now);
    void pg_done(const PgAction& action, PgReply reply, const Now& now);

    // Stops reading; what was read is stored and acknowledged if Postgres and Redis are there.
    void stop() noexcept { stopping_ = true; }

    // While it runs; the groups stay as they are.
    void set_limits(LoadLimits limits);

    // Both have been asked for the first time, and have answered or are known to be away.
    [[nodiscard]] bool has_asked() const noexcept;

    [[nodiscard]] const LoadCounts& counts() const noexcept { return counts_; }
    [[nodiscard]] const LoadHistograms& histograms() const noexcept { return histograms_; }
    [[nodiscard]] LoadGauges gauges(const Now& now) const noexcept;
    // Answered as it should, and not long ago: a Postgres that hangs is not up.
    [[nodiscard]] bool postgres_up(const Now& now) const noexcept;
    [[nodiscard]] bool trim_group_missing() const noexcept { return trim_.group_missing(); }
    // A configured group that is not yet where this loader's was a while ago, so that trimming
    // waits for it; null if there is none.
    [[nodiscard]] const std::string* group_left_behind() const noexcept { return left_behind_; }
    // The entry this loader cannot read that trimming waits for; null if there is none.
    [[nodiscard]] const StreamId* trim_held_by() const noexcept;
    [[nodiscard]] uint64_t buffered_bytes() const noexcept;

  private:
    enum class RedisLink : uint8_t { kDown, kConnected, kReading };

    // core_redis.cpp
    [[nodiscard]] RedisAction next_read(const Now& now);
    [[nodiscard]] RedisAction wait_redis(const Now& now) const;
    void forget_redis_state();
    void redis_failed(const RedisAction& action, RedisStatus status, const Now& now);
    void entries_read(const RedisAction& action, RedisResult& result, const Now& now);
    void oldest_inspected(const RedisResult& result, const Now& now);
    void measured(const RedisResult& result, const Now& now);
    [[nodiscard]] Amount amount_pending() const noexcept;
    [[nodiscard]] LoadState state(bool postgres_up) const noexcept;
    void take_entries(RedisResult& result, bool may_be_held, const Now& now);
    void leave_entry(const Entry& entry);
    [[nodiscard]] bool state_lost(const RedisResult& result);
    void pending_inspected(const RedisAction& action, const RedisResult& result);
    void look_for_group_left_behind(const Now& now);
    [[nodiscard]] std::set<StreamId> held_ids() const;
    [[nodiscard]] bool has_work() const noexcept { return filling_ || storing_; }
    [[nodiscard]] bool has_room() const noexcept;
    [[nodiscard]] uint32_t read_count() const noexcept;

    // core_postgres.cpp
    [[nodiscard]] PgAction next_pg_idle(const Now& now);
    [[nodiscard]] PgAction next_pg_storing(const Now& now);
    [[nodiscard]] bool batch_is_due(const Now& now) const noexcept;
    [[nodiscard]] RowRange next_part() const noexcept;
    [[nodiscard]] bool partitions_missing(PgAction* action) const;
    [[nodiscard]] bool partitions_ahead_missing(const Now& now, PgAction* action) const;
    void partitions_made(const PgAction& action);
    void storing_done(const PgAction& action, PgReply& reply, const Now& now);
    void next_rows();
    void rows_refused(const PgAction& action, PgReply& reply);
    void pg_failed(const PgAction& action, PgStatus status, const Now& now);
    void batch_stored(const Now& now);
    void adapt_batch(int64_t took_us);

    LoadLimits limits_;
    LoadCounts counts_;
    LoadHistograms histograms_;
    EdgeClocks edge_clocks_;
    bool stopping_ = false;

    RedisLink redis_ = RedisLink::kDown;
    uint64_t redis_epoch_ = 0;  // grows whenever ids may have got another meaning
    int64_t redis_retry_at_us_ = 0;
    Backoff redis_backoff_;
    bool own_done_ = false;
    StreamId own_after_;
    StreamId newest_read_;  // whatever Redis says now: an id behind it was delivered once
    StreamId claim_cursor_;
    int64_t claim_at_us_ = 0;
    int64_t read_at_us_ = 0;
    int64_t publish_at_us_ = 0;
    bool published_up_ = false;
    bool measured_ = false;  // for what is published next
    bool backlog_known_ = false;
    uint64_t backlog_entries_ = 0;
    uint64_t pending_ = 0;
    BacklogCount backlog_count_;
    Amount pending_amount_;
    EntrySize entry_size_;  // of those that other consumers hold
    Waiting waiting_;
    TailWindow window_;
    uint64_t kept_ = 0;
    DrainRate drain_;
    int64_t trim_at_us_ = 0;
    // Expected of the next entries; follows the largest. At first as many as the edge's frames may
    // have: nothing is known of what has piled up.
    uint64_t entry_bytes_ = 1024 * 1024;
    uint32_t read_count_limit_;  // of the next read: twice what the last one brought
    std::vector<StreamId> acks_;
    bool acked_since_trim_ = false;
    std::set<StreamId> left_ids_;  // cannot be read: pending until an operator sees to them
    bool trim_held_ = false;       // by the first of them
    int64_t oldest_at_us_ = 0;
    TrimRound trim_;
    const std::string* left_behind_ = nullptr;
    StreamId own_bound_before_;  // where this loader's group was
    int64_t left_behind_at_us_ = 0;

    uint64_t fill_bytes_;  // of a batch: what Postgres stores in good time
    std::unique_ptr<Batch> filling_;
    std::unique_ptr<Batch> storing_;

    bool pg_connected_ = false;
    bool pg_up_ = false;       // the last action was answered, if only by refusing it
    bool pg_refused_ = false;  // the batch that is being stored, the last time
    bool pg_known_ = false;    // one has been answered at all
    bool pg_stopped_ = false;
    StoreProgress store_;
    uint64_t copy_rows_max_ = UINT64_MAX;  // in one COPY of the batch that is being stored
    bool partition_missed_ = false;        // before, by the batch that is being stored
    int64_t pg_retry_at_us_ = 0;
    int64_t pg_check_at_us_ = 0;
    int64_t pg_answered_at_us_ = 0;
    int64_t ahead_at_us_ = 0;
    Backoff pg_backoff_;
    Backoff refused_backoff_;
    int64_t next_row_id_ = 0;
    int64_t row_ids_end_ = 0;
    int64_t newest_stored_ms_ = 0;
    int64_t prune_before_hour_ = 0;  // 0: nothing to prune
    int64_t prune_at_us_ = 0;
    int64_t prune_began_at_us_ = 0;
    std::set<int64_t> log_days_;
    std::set<int64_t> ledger_hours_;
};

}  // namespace sluice
