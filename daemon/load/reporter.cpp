#include "daemon/load/reporter.hpp"

namespace sluice {
namespace {

constexpr int64_t kProgressIntervalUs = 10 * 1000 * 1000;

const char* name_of(RedisStep step) noexcept {
    switch (step) {
        case RedisStep::kConnect:
            return "connect";
        case RedisStep::kEnsureGroup:
            return "make_group";
        case RedisStep::kReadOwn:
            return "read_own";
        case RedisStep::kClaim:
            return "claim";
        case RedisStep::kReadNew:
            return "read";
        case RedisStep::kAck:
            return "ack";
        case RedisStep::kInspectGroups:
            return "inspect_groups";
        case RedisStep::kInspectPending:
            return "inspect_pending";
        case RedisStep::kTrim:
            return "trim";
        case RedisStep::kInspectOldest:
            return "inspect_oldest";
        case RedisStep::kPublish:
            return "publish";
        case RedisStep::kWait:
            return "wait";
        case RedisStep::kStop:
            return "stop";
    }
    return "";
}

const char* name_of(PgStep step) noexcept {
    switch (step) {
        case PgStep::kConnect:
            return "connect";
        case PgStep::kCheck:
            return "check";
        case PgStep::kMakePartitions:
            return "make_partitions";
        case PgStep::kReserveIds:
            return "reserve_ids";
        case PgStep::kInsertLedger:
            return "insert_ledger";
        case PgStep::kCopy:
            return "copy";
        case PgStep::kCount:
            return "count";
        case PgStep::kCommit:
            return "commit";
        case PgStep::kPruneLedger:
            return "prune_ledger";
        case PgStep::kWait:
            return "wait";
        case PgStep::kStop:
            return "stop";
    }
    return "";
}

}  // namespace

void LoadReporter::redis_answered(const RedisAction& action, const RedisResult& result,
                                  const std::string& error, int64_t now_us) {
    if (result.status == RedisStatus::kOk) {
        if (action.step == RedisStep::kEnsureGroup) {
            if (result.group_made) {
                log_info("group made at the stream's beginning");
            }
            if (redis_down_) {
                log_info("redis is back");
            }
            redis_down_ = false;
        }
        return;
    }
    if (result.status == RedisStatus::kNoGroup) {
        log_warn("the group is gone: redis lost state, or somebody removed it")
            .with("step", name_of(action.step));
        return;
    }
    redis_down_ = redis_down_ || result.status == RedisStatus::kLost;
    uint64_t left_out = 0;
    if (redis_limit_.allow(now_us, &left_out)) {
        log_warn("redis failed, trying again")
            .with("step", name_of(action.step))
            .with("error", error)
            .with("left_out", left_out);
    }
}

void LoadReporter::pg_answered(const PgAction& action, const PgReply& reply, const PgError& error,
                               int64_t now_us) {
    if (reply.status == PgStatus::kOk) {
        if (pg_down_ && action.step != PgStep::kConnect) {
            log_info("postgres is back");
            pg_down_ = false;
        }
        return;
    }
    // Who refuses is there, and comes back from nowhere.
    pg_down_ = pg_down_ || reply.status != PgStatus::kRefused;
    uint64_t left_out = 0;
    if (!pg_limit_.allow(now_us, &left_out)) {
        return;
    }
    LogLine line = reply.status == PgStatus::kRefused
                       ? log_error("postgres refuses, and will again: nothing is acknowledged")
                       : log_warn("postgres failed, trying again");
    line.with("step", name_of(action.step))
        .with("sqlstate", error.sqlstate)
        .with("error", error.message)
        .with("left_out", left_out);
    if (action.batch != nullptr) {
        line.with("frames", static_cast<uint64_t>(action.batch->frames().size()))
            .with("first_entry", to_string(action.batch->frames().front().id));
    }
}

void LoadReporter::look(const LoaderCore& core, int64_t now_us) {
    const LoadCounts& counts = core.counts();
    if (counts.entries_gone != seen_.entries_gone) {
        log_error("acknowledged records are lost: entries vanished before they were stored")
            .with("entries", counts.entries_gone - seen_.entries_gone)
            .with("total", counts.entries_gone);
        seen_.entries_gone = counts.entries_gone;
    }
    look_for_left_entries(counts, now_us);
    uint64_t left_out = 0;
    if (core.trim_group_missing() && trim_limit_.allow(now_us, &left_out)) {
        log_warn("the stream is not trimmed: a configured group does not exist");
    }
    const StreamId* held_by = core.trim_held_by();
    if (held_by != nullptr && held_limit_.allow(now_us, &left_out)) {
        log_error("trimming is held up by an entry this loader cannot read")
            .with("entry", to_string(*held_by));
    }
    if (now_us - progress_at_us_ >= kProgressIntervalUs &&
        counts.rows_stored != progress_.rows_stored) {
        log_info("stored")
            .with("rows", counts.rows_stored - progress_.rows_stored)
            .with("frames", counts.frames_stored - progress_.frames_stored)
            .with("duplicates", counts.frames_duplicate - progress_.frames_duplicate)
            .with("trimmed", counts.entries_trimmed - progress_.entries_trimmed);
        progress_ = counts;
        progress_at_us_ = now_us;
    }
}

void LoadReporter::look_for_left_entries(const LoadCounts& counts, int64_t now_us) {
    const uint64_t left =
        counts.entries_plain + counts.entries_unknown_version + counts.entries_damaged;
    const uint64_t seen =
        seen_.entries_plain + seen_.entries_unknown_version + seen_.entries_damaged;
    uint64_t left_out = 0;
    if (left == seen || !left_limit_.allow(now_us, &left_out)) {
        return;
    }
    log_error("entries stay in the stream: this loader cannot read them")
        .with("plain", counts.entries_plain - seen_.entries_plain)
        .with("unknown_version", counts.entries_unknown_version - seen_.entries_unknown_version)
        .with("damaged", counts.entries_damaged - seen_.entries_damaged);
    seen_.entries_plain = counts.entries_plain;
    seen_.entries_unknown_version = counts.entries_unknown_version;
    seen_.entries_damaged = counts.entries_damaged;
}

void LoadReporter::finish(const LoadCounts& counts) {
    log_info("loader stopped")
        .with("rows", counts.rows_stored)
        .with("frames", counts.frames_stored)
        .with("duplicates", counts.frames_duplicate)
        .with("acknowledged", counts.entries_acked)
        .with("trimmed", counts.entries_trimmed)
        .with("redis_failures", counts.redis_failures)
        .with("postgres_failures", counts.pg_failures);
}

}  // namespace sluice
