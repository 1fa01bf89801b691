// What the loader's core asks its two shells to do, and what they answer. Plain data: the real
// shells speak to Redis and Postgres, a simulation answers from memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/record_rules.hpp"
#include "daemon/load/backlog.hpp"
#include "daemon/load/batch.hpp"
#include "daemon/load/tail_window.hpp"
#include "daemon/load/waiting.hpp"

namespace sluice {

// Two clocks, read by the shell: one that never jumps, for waits and deadlines, and the wall's,
// only for the partitions that are made ahead and for what is measured.
struct Now {
    int64_t steady_us;
    int64_t wall_ms;
};

enum class RedisStep : uint8_t {
    kWait,  // at most wait_us, or until the other lane has moved
    kConnect,
    kEnsureGroup,  // at the stream's beginning: what was stored already is found in the ledger
    kReadOwn,      // entries this consumer was given and never acknowledged, above from
    kClaim,        // entries that other consumers left idle, from the cursor in from
    kReadNew,
    kAck,
    kInspectGroups,   // name and last delivered id of every group
    kInspectPending,  // the smallest pending id of one group
    kTrim,            // entries below from, but for so many of the newest as are to be kept
    kInspectOldest,   // the first entry of the stream
    kMeasure,         // every group's position, then the stream's length and Redis' memory
    kLook,            // so many entries that wait, from each of the places on
    kPublish,         // this consumer's state, for the edge
    kStop,
};

// What the edge is told, to shed by.
struct LoadState {
    bool postgres_up = false;
    Amount drain;                // a second, by this consumer alone
    bool backlog_known = false;  // Redis has told
    uint64_t backlog_entries = 0;
    Amount backlog;  // of the whole group
    TailKept kept;   // acknowledged ones in the stream, if the backlog is known
};

struct RedisAction {
    RedisStep step = RedisStep::kWait;
    int64_t wait_us = 0;
    StreamId from;
    uint32_t count = 0;
    uint32_t block_ms = 0;  // 0: do not block
    std::vector<StreamId> ids;
    std::vector<StreamId> places;  // kLook
    std::string group;
    uint64_t keep = 0;
    LoadState state;
};

enum class RedisStatus : uint8_t {
    kOk,
    kNoGroup,  // the group or the stream is gone
    kRefused,  // an error reply; the connection stands
    kLost,     // the connection is closed; whether the command was done is unknown
};
inline constexpr size_t kRedisStatuses = static_cast<size_t>(RedisStatus::kLost) + 1;

struct GroupPosition {
    std::string name;
    StreamId last_delivered;
    uint64_t pending = 0;
    bool entries_read_known = false;
    uint64_t entries_read = 0;
};

struct RedisResult {
    RedisStatus status = RedisStatus::kOk;
    std::unique_ptr<EntryBytes> bytes;
    std::vector<Entry> entries;
    StreamId cursor;          // kClaim: where to go on; 0-0 is the end
    uint64_t gone = 0;        // kClaim: pending ids whose entries no longer exist
    bool group_made = false;  // kEnsureGroup: false if it was there
    std::vector<GroupPosition> groups;
    StreamLength stream;  // kMeasure
    TailKept kept;        // kMeasure: as told last
    RedisMemory memory;   // kMeasure
    // kLook: in the order of the places; the last of them are missing if the others held much.
    std::vector<EntrySample> samples;
    bool has_pending = false;
    StreamId first_pending;
    uint64_t trimmed = 0;
};

enum class PgStep : uint8_t {
    kWait,
    kConnect,
    kCheck,
    kMakePartitions,
    kReserveIds,
    kInsertLedger,  // begins the transaction
    kCopy,          // rows of the batch's fresh frames; kOk: Postgres counted as many
    kCopyGoodRows,  // rows that nothing is wrong with, and undoes it
    kDeadLetter,    // not if the same one was inserted before
    kCount,
    kCommit,
    kPruneLedger,  // a piece of what is older than the hour in ledger_hours
    kStop,
};

struct MinuteCount {
    int64_t minute;  // since 1970
    Level level;
    uint64_t n;
};

struct PgAction {
    PgStep step = PgStep::kWait;
    int64_t wait_us = 0;
    std::vector<int64_t> log_days;      // since 1970
    std::vector<int64_t> ledger_hours;  // since 1970
    const Batch* batch = nullptr;       // stands still until the action is answered
    RowRange rows;                      // kCopy: of all rows of fresh frames
    bool careful = false;               // kCopy: when rows are refused, only this COPY is undone
    DeadLetter letter;                  // kDeadLetter; kCopyGoodRows: in whose place
    std::vector<MinuteCount> counts;
};

// After anything but kOk no transaction is open, as the shell has rolled back; but a careful COPY
// that was answered with kBadData leaves it as it was before the COPY.
enum class PgStatus : uint8_t {
    kOk,
    kRetry,        // would go through another time
    kLost,         // the connection is closed; a commit may or may not have happened
    kNoPartition,  // a partition is missing, or the whole table
    kBadData,      // some of the values would be refused again
    kRefused,      // would be refused again whatever the values: a missing table or right
};
inline constexpr size_t kPgStatuses = static_cast<size_t>(PgStatus::kRefused) + 1;

struct PgReply {
    PgStatus status = PgStatus::kOk;
    int64_t first_id = 0;  // kReserveIds: the block is [first_id, first_id + kRowIdBlock)
    std::vector<int64_t> fresh_ids;
    std::vector<MinuteCount> counts;  // kCopy: of its rows
    bool inserted = false;            // kDeadLetter: false if it was there before
    uint64_t named_line = 0;          // kBadData: the line that Postgres named, from 1; a hint
    std::string sqlstate;             // kBadData
    std::string reason;               // kBadData
    bool more = false;                // kPruneLedger: pieces are left
};

inline constexpr int64_t kRowIdBlock = 1000000;
static_assert(kFrameRecordsMax <= kRowIdBlock, "a frame's ids are contiguous within a block");

// For logs, traces and metrics.
[[nodiscard]] const char* name_of(RedisStep step) noexcept;
[[nodiscard]] const char* name_of(PgStep step) noexcept;
[[nodiscard]] const char* name_of(RedisStatus status) noexcept;
[[nodiscard]] const char* name_of(PgStatus status) noexcept;

}  // namespace sluice
