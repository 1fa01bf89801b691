#include "daemon/load/reporter.hpp"

namespace sluice {
namespace {

constexpr int64_t kProgressIntervalUs = 10 * 1000 * 1000;

bool is_storing(PgStep step) noexcept {
    return step == PgStep::kInsertLedger || step == PgStep::kCopy;
}

void add_batch(const PgAction& action, LogLine* line) {
    if (action.batch != nullptr) {
        line->with("entries", static_cast<uint64_t>(action.batch->ids().size()))
            .with("first_entry", to_string(action.batch->ids().front()));
    }
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
    uint64_t left_out = 0;
    if (result.status == RedisStatus::kNoGroup) {
        if (group_limit_.allow(now_us, &left_out)) {
            log_warn("the group is gone: redis lost state, or somebody removed it")
                .with("step", name_of(action.step))
                .with("left_out", left_out);
        }
        return;
    }
    redis_down_ = redis_down_ || result.status == RedisStatus::kLost;
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
        if (action.step == PgStep::kDeadLetter && reply.inserted) {
            dead_letter_made(action.letter, now_us);
        }
        return;
    }
    if (reply.status == PgStatus::kBadData && action.step == PgStep::kCopy) {
        if (!action.careful) {
            rows_refused(action, error, now_us);
        }
        return;
    }
    const bool away = reply.status == PgStatus::kLost || reply.status == PgStatus::kRetry;
    // Who refuses is there, and comes back from nowhere.
    pg_down_ = pg_down_ || away;
    uint64_t left_out = 0;
    if (!pg_limit_.allow(now_us, &left_out)) {
        return;
    }
    const bool can_be_made = reply.status == PgStatus::kNoPartition && is_storing(action.step);
    LogLine line = away          ? log_warn("postgres failed, trying again")
                   : can_be_made ? log_warn("postgres lacks a partition, making it")
                                 : log_error("postgres refuses, and will: nothing is acknowledged");
    line.with("step", name_of(action.step))
        .with("sqlstate", error.sqlstate)
        .with("error", error.told())
        .with("left_out", left_out);
    add_batch(action, &line);
}

// Not Postgres' message: it quotes what the client sent.
void LoadReporter::rows_refused(const PgAction& action, const PgError& error, int64_t now_us) {
    uint64_t left_out = 0;
    if (rows_limit_.allow(now_us, &left_out)) {
        LogLine line = log_warn("postgres refuses rows: looking for them");
        line.with("sqlstate", error.sqlstate).with("line", error.copy_line);
        line.with("left_out", left_out);
        add_batch(action, &line);
    }
}

void LoadReporter::dead_letter_made(const DeadLetter& letter, int64_t now_us) {
    uint64_t left_out = 0;
    if (letter_limit_.allow(now_us, &left_out)) {
        LogLine line = log_error("a record cannot be stored: kept in dead_letters");
        line.with("entry", to_string(letter.id)).with("position", letter.position);
        if (letter.sqlstate.empty()) {
            line.with("reason", letter.reason);
        } else {
            line.with("sqlstate", letter.sqlstate);
        }
        line.with("left_out", left_out);
    }
}

void LoadReporter::look(const LoaderCore& core, int64_t now_us) {
    const LoadCounts& counts = core.counts();
    uint64_t left_out = 0;
    if (counts.entries_gone != seen_.entries_gone && gone_limit_.allow(now_us, &left_out)) {
        log_error("acknowledged records are lost: entries vanished before they were stored")
            .with("entries", counts.entries_gone - seen_.entries_gone)
            .with("total", counts.entries_gone);
        seen_.entries_gone = counts.entries_gone;
    }
    if (counts.state_losses != seen_.state_losses && state_limit_.allow(now_us, &left_out)) {
        log_error("redis lost state, or its group was set back: everything unacknowledged is read")
            .with("total", counts.state_losses);
        seen_.state_losses = counts.state_losses;
    }
    const uint64_t left = counts.entries_unknown_version;
    if (left != seen_.entries_unknown_version && left_limit_.allow(now_us, &left_out)) {
        log_error("entries of a newer version stay in the stream: this loader cannot read them")
            .with("entries", left - seen_.entries_unknown_version);
        seen_.entries_unknown_version = left;
    }
    const uint64_t late = counts.frames_late;
    if (late != seen_.frames_late && late_limit_.allow(now_us, &left_out)) {
        log_warn("frames were late: pages whose time had been called settled lack their records")
            .with("frames", late - seen_.frames_late);
        seen_.frames_late = late;
    }
    if (core.trim_group_missing() && trim_limit_.allow(now_us, &left_out)) {
        log_warn("the stream is not trimmed: a configured group does not exist");
    }
    const std::string* behind = core.group_left_behind();
    if (behind != nullptr && behind_limit_.allow(now_us, &left_out)) {
        log_warn("trimming is held up by a group that is left behind").with("group", *behind);
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
            .with("dead_letters", counts.rows_dead + counts.entries_dead - progress_.rows_dead -
                                      progress_.entries_dead)
            .with("trimmed", counts.entries_trimmed - progress_.entries_trimmed);
        progress_ = counts;
        progress_at_us_ = now_us;
    }
}

void LoadReporter::finish(const LoadCounts& counts) {
    log_info("loader stopped")
        .with("rows", counts.rows_stored)
        .with("frames", counts.frames_stored)
        .with("duplicates", counts.frames_duplicate)
        .with("late", counts.frames_late)
        .with("plain_entries", counts.entries_plain)
        .with("dead_rows", counts.rows_dead)
        .with("dead_entries", counts.entries_dead)
        .with("acknowledged", counts.entries_acked)
        .with("trimmed", counts.entries_trimmed)
        .with("vanished", counts.entries_gone)
        .with("state_losses", counts.state_losses)
        .with("redis_failures", counts.redis_failures)
        .with("postgres_failures", counts.pg_failures);
}

}  // namespace sluice
