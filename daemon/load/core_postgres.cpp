// The core's Postgres lane: one batch, one transaction, again until it is known to be committed.
#include <algorithm>

#include "daemon/load/core.hpp"

namespace sluice {
namespace {

constexpr int64_t kSecondUs = 1000 * 1000;
constexpr int64_t kHourMs = 3600 * 1000;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kCheckIntervalUs = kSecondUs;
// Checks and the steps of a batch are answered more often than this.
constexpr int64_t kSilentUs = 5 * kSecondUs;
constexpr int64_t kAheadIntervalUs = 60 * kSecondUs;
constexpr int64_t kDaysAhead = 1;
constexpr int64_t kHoursAhead = 2;
constexpr size_t kPartitionsRemembered = 10000;
// Pruning gets a fifth of the time, however busy the loader is, and no more.
constexpr int64_t kPruneRest = 4;
// A transaction that takes longer makes the next batches smaller.
constexpr int64_t kStoreTargetUs = kSecondUs / 2;
constexpr uint64_t kFillBytesAtLeast = 256 * 1024;
constexpr uint64_t kCopyRowsAtLeast = 1000;

// What is refused for its values is of these classes (pg_failure.cpp).
DeadRow dead_row(std::string_view sqlstate) noexcept {
    const std::string_view kind = sqlstate.substr(0, 2);
    return kind == "23" ? DeadRow::kConstraint : kind == "54" ? DeadRow::kLimit : DeadRow::kData;
}

}  // namespace

bool LoaderCore::postgres_up(const Now& now) const noexcept {
    return pg_up_ && now.steady_us - pg_answered_at_us_ < kSilentUs;
}

PgAction LoaderCore::next_pg(const Now& now) {
    PgAction action;
    const bool idle = !storing_ && !filling_;
    if (stopping_ && (idle || !pg_up_ || pg_refused_)) {
        pg_stopped_ = true;
        action.step = PgStep::kStop;
        return action;
    }
    if (now.steady_us < pg_retry_at_us_) {
        // A refused batch waits for long: whether Postgres is there is asked meanwhile.
        const int64_t until = pg_up_ ? std::min(pg_retry_at_us_, pg_check_at_us_) : pg_retry_at_us_;
        action.step = now.steady_us < until ? PgStep::kWait : PgStep::kCheck;
        action.wait_us = std::max<int64_t>(until - now.steady_us, 0);
        return action;
    }
    if (!pg_connected_) {
        action.step = PgStep::kConnect;
        return action;
    }
    return storing_ ? next_pg_storing(now) : next_pg_idle(now);
}

PgAction LoaderCore::next_pg_idle(const Now& now) {
    PgAction action;
    if (now.steady_us >= ahead_at_us_) {
        ahead_at_us_ = now.steady_us + kAheadIntervalUs;
        if (partitions_ahead_missing(now, &action)) {
            action.step = PgStep::kMakePartitions;
            return action;
        }
    }
    if (prune_before_hour_ != 0 && now.steady_us >= prune_at_us_) {
        action.step = PgStep::kPruneLedger;
        action.ledger_hours = {prune_before_hour_};
        prune_before_hour_ = 0;
        prune_began_at_us_ = now.steady_us;
        return action;
    }
    if (batch_is_due(now)) {
        storing_ = std::move(filling_);
        storing_->close();
        store_ = StoreProgress();
        copy_rows_max_ = UINT64_MAX;
        partition_missed_ = false;
        return next_pg_storing(now);
    }
    if (now.steady_us >= pg_check_at_us_) {
        action.step = PgStep::kCheck;
        return action;
    }
    action.wait_us = std::min(pg_check_at_us_, ahead_at_us_) - now.steady_us;
    if (prune_before_hour_ != 0) {
        action.wait_us = std::min(action.wait_us, prune_at_us_ - now.steady_us);
    }
    if (filling_) {
        const int64_t due_at = filling_->opened_at_us() + limits_.batch_age_us;
        action.wait_us = std::min(action.wait_us, due_at - now.steady_us);
    }
    return action;
}

bool LoaderCore::batch_is_due(const Now& now) const noexcept {
    return filling_ && (stopping_ || !has_room() ||
                        now.steady_us - filling_->opened_at_us() >= limits_.batch_age_us);
}

PgAction LoaderCore::next_pg_storing(const Now& now) {
    PgAction action;
    action.batch = storing_.get();
    action.step = store_.step;
    if (store_.step == PgStep::kInsertLedger) {
        if (partitions_missing(&action)) {
            action.step = PgStep::kMakePartitions;
        } else if (!storing_->assign_row_ids(&next_row_id_, row_ids_end_)) {
            action.step = PgStep::kReserveIds;
        } else {
            store_.began_at_us = now.steady_us;
        }
    } else if (store_.step == PgStep::kCopy) {
        action.careful = store_.careful;
        action.rows = store_.careful ? store_.pieces.next() : next_part();
    } else if (store_.step == PgStep::kDeadLetter || store_.step == PgStep::kCopyGoodRows) {
        action.letter = store_.letter;
    } else if (store_.step == PgStep::kCount) {
        for (const auto& [key, n] : store_.counts) {
            action.counts.push_back({key.first, key.second, n});
        }
    }
    return action;
}

// All rows at once, unless that took too long before.
RowRange LoaderCore::next_part() const noexcept {
    const uint64_t left = storing_->fresh_rows().size() - store_.rows_copied;
    return {store_.rows_copied, std::min(left, copy_rows_max_)};
}

bool LoaderCore::partitions_missing(PgAction* action) const {
    for (const BatchFrame& frame : storing_->frames()) {
        const int64_t day = frame.frame.receive_time_ms / kDayMs;
        const int64_t hour = frame.frame.receive_time_ms / kHourMs;
        // Frames are sorted by time: equal ones are neighbours.
        if (log_days_.count(day) == 0 &&
            (action->log_days.empty() || action->log_days.back() != day)) {
            action->log_days.push_back(day);
        }
        if (ledger_hours_.count(hour) == 0 &&
            (action->ledger_hours.empty() || action->ledger_hours.back() != hour)) {
            action->ledger_hours.push_back(hour);
        }
    }
    return !action->log_days.empty() || !action->ledger_hours.empty();
}

bool LoaderCore::partitions_ahead_missing(const Now& now, PgAction* action) const {
    for (int64_t day = now.wall_ms / kDayMs, last = day + kDaysAhead; day <= last; ++day) {
        if (log_days_.count(day) == 0) {
            action->log_days.push_back(day);
        }
    }
    for (int64_t hour = now.wall_ms / kHourMs, last = hour + kHoursAhead; hour <= last; ++hour) {
        if (ledger_hours_.count(hour) == 0) {
            action->ledger_hours.push_back(hour);
        }
    }
    return !action->log_days.empty() || !action->ledger_hours.empty();
}

void LoaderCore::partitions_made(const PgAction& action) {
    if (log_days_.size() + ledger_hours_.size() > kPartitionsRemembered) {
        log_days_.clear();
        ledger_hours_.clear();
    }
    log_days_.insert(action.log_days.begin(), action.log_days.end());
    ledger_hours_.insert(action.ledger_hours.begin(), action.ledger_hours.end());
}

void LoaderCore::pg_done(const PgAction& action, PgReply reply, const Now& now) {
    drain_.pass(now.steady_us, has_work());
    pg_check_at_us_ = now.steady_us + kCheckIntervalUs;
    pg_answered_at_us_ = now.steady_us;
    pg_known_ = true;
    if (reply.status != PgStatus::kOk) {
        ++counts_.pg_answers[static_cast<size_t>(reply.status)];
    }
    if (reply.status == PgStatus::kBadData && action.step == PgStep::kCopy) {
        rows_refused(action, reply);
        pg_up_ = true;
        return;
    }
    if (reply.status != PgStatus::kOk) {
        pg_failed(action, reply.status, now);
        return;
    }
    switch (action.step) {
        case PgStep::kConnect:
            pg_connected_ = true;
            // It may be another server, which has not heard of this block and will issue it again.
            next_row_id_ = 0;
            row_ids_end_ = 0;
            if (storing_) {
                storing_->forget_row_ids();
            }
            break;
        case PgStep::kMakePartitions:
            partitions_made(action);
            break;
        case PgStep::kReserveIds:
            next_row_id_ = reply.first_id;
            row_ids_end_ = reply.first_id + kRowIdBlock;
            break;
        case PgStep::kInsertLedger:
        case PgStep::kCopy:
        case PgStep::kCopyGoodRows:
        case PgStep::kDeadLetter:
        case PgStep::kCount:
        case PgStep::kCommit:
            storing_done(action, reply, now);
            break;
        case PgStep::kPruneLedger:
            if (reply.more && prune_before_hour_ == 0) {
                prune_before_hour_ = action.ledger_hours.front();
            }
            prune_at_us_ = now.steady_us + kPruneRest * (now.steady_us - prune_began_at_us_);
            ledger_hours_.erase(ledger_hours_.begin(),
                                ledger_hours_.lower_bound(action.ledger_hours.front()));
            break;
        case PgStep::kCheck:
            pg_backoff_.reset();
            break;
        case PgStep::kWait:
        case PgStep::kStop:
            break;
    }
    pg_up_ = true;
}

// A step of the batch's transaction has succeeded.
void LoaderCore::storing_done(const PgAction& action, PgReply& reply, const Now& now) {
    switch (action.step) {
        case PgStep::kInsertLedger:
            storing_->mark_fresh(std::move(reply.fresh_ids));
            if (store_.careful && storing_->fresh_rows().size() != 0) {
                store_.pieces.start(storing_->fresh_rows().size(), store_.named_row);
            }
            next_rows();
            break;
        case PgStep::kCopy:
            for (const MinuteCount& count : reply.counts) {
                store_.counts[{count.minute, count.level}] += count.n;
            }
            if (store_.careful) {
                store_.pieces.stored();
            } else {
                store_.rows_copied += action.rows.count;
            }
            next_rows();
            break;
        case PgStep::kCopyGoodRows:
            store_.good_rows_taken = true;
            store_.step = PgStep::kDeadLetter;
            break;
        case PgStep::kDeadLetter:
            if (store_.letter.position == DeadLetter::kWholeEntry) {
                ++store_.entries_done;
                store_.entries_dead += reply.inserted ? 1 : 0;
            } else {
                store_.pieces.dropped();
                ++store_.rows_dead;
                ++store_.rows_dead_by[static_cast<size_t>(dead_row(store_.letter.sqlstate))];
            }
            next_rows();
            break;
        case PgStep::kCount:
            store_.step = PgStep::kCommit;
            break;
        case PgStep::kCommit:
            batch_stored(now);
            break;
        default:
            break;
    }
}

// What comes behind the ledger: rows, then dead entries, then counters.
void LoaderCore::next_rows() {
    const bool copied = store_.careful ? store_.pieces.empty()
                                       : store_.rows_copied == storing_->fresh_rows().size();
    if (storing_->fresh_rows().size() != 0 && !copied) {
        // What took too long before is not tried once more.
        while (store_.careful && store_.pieces.next().count > copy_rows_max_) {
            store_.pieces.refused(RowPieces::kNotNamed);
        }
        store_.step = PgStep::kCopy;
    } else if (store_.entries_done < storing_->dead_entries().size()) {
        store_.letter = storing_->dead_entries()[store_.entries_done];
        store_.step = PgStep::kDeadLetter;
    } else {
        store_.step = store_.counts.empty() ? PgStep::kCommit : PgStep::kCount;
    }
}

void LoaderCore::rows_refused(const PgAction& action, PgReply& reply) {
    uint64_t named = RowPieces::kNotNamed;
    if (reply.named_line != 0 && reply.named_line <= action.rows.count) {
        named = action.rows.first + reply.named_line - 1;
    }
    if (!action.careful) {
        ++counts_.batches_careful;
        store_ = StoreProgress();
        store_.careful = true;
        store_.named_row = named;
    } else if (action.rows.count > 1) {
        store_.pieces.refused(named);
    } else {
        store_.letter = storing_->dead_letter(action.rows.first, std::move(reply.sqlstate),
                                              std::move(reply.reason));
        store_.step = store_.good_rows_taken ? PgStep::kDeadLetter : PgStep::kCopyGoodRows;
    }
}

// Nothing is given up: the batch is stored from its beginning. If the transaction had committed
// after all, the ledger knows all of its frames.
void LoaderCore::pg_failed(const PgAction& action, PgStatus status, const Now& now) {
    const bool storing = action.batch != nullptr && action.step != PgStep::kMakePartitions;
    ++counts_.pg_failures;
    const bool can_wait = action.step == PgStep::kPruneLedger ||
                          (action.step == PgStep::kMakePartitions && storing_ == nullptr);
    if (can_wait && status != PgStatus::kLost) {
        // Somebody holds what it needs, or it may not: no batch waits for that. There is a next
        // round.
        return;
    }
    if (action.step == PgStep::kCopy && (status == PgStatus::kRetry || status == PgStatus::kLost)) {
        // It may have been too much for the time there is.
        copy_rows_max_ = std::max(kCopyRowsAtLeast, action.rows.count / 2);
    }
    store_ = StoreProgress();
    if (status == PgStatus::kLost) {
        pg_connected_ = false;
    } else if (status == PgStatus::kNoPartition && storing && !partition_missed_) {
        // Somebody dropped it, or the server is another one.
        partition_missed_ = true;
        log_days_.clear();
        ledger_hours_.clear();
        pg_up_ = true;
        return;
    } else if (status != PgStatus::kRetry) {
        // It answered, so it is there: what it refuses is for an operator to see, not an outage.
        // Tables that are missing may come back without their partitions.
        log_days_.clear();
        ledger_hours_.clear();
        partition_missed_ = false;
        counts_.batches_refused += storing_ ? 1 : 0;
        pg_refused_ = storing_ != nullptr;
        pg_up_ = true;
        pg_retry_at_us_ = now.steady_us + refused_backoff_.next_us();
        return;
    }
    pg_up_ = false;
    pg_retry_at_us_ = now.steady_us + pg_backoff_.next_us();
}

void LoaderCore::batch_stored(const Now& now) {
    pg_backoff_.reset();
    refused_backoff_.reset();
    pg_refused_ = false;
    for (const BatchFrame& frame : storing_->frames()) {
        const int64_t t = frame.frame.receive_time_ms;
        newest_stored_ms_ = std::max(newest_stored_ms_, t);
        if (frame.fresh) {
            ++counts_.frames_stored;
            const int64_t on_the_way_ms = static_cast<int64_t>(frame.id.ms) - t;
            counts_.frames_late += on_the_way_ms > kOnTheWayMsMax ? 1 : 0;
            histograms_.way_ms.seen(static_cast<uint64_t>(std::max<int64_t>(now.wall_ms - t, 0)),
                                    frame.frame.records);
        }
    }
    histograms_.batch_rows.seen(storing_->rows());
    histograms_.batch_bytes.seen(storing_->rows_bytes());
    histograms_.batch_us.seen(static_cast<uint64_t>(now.steady_us - store_.began_at_us));
    for (size_t i = 0; i < kDeadRows; ++i) {
        counts_.rows_dead_by[i] += store_.rows_dead_by[i];
    }
    counts_.rows_stored += storing_->fresh_rows().size() - store_.rows_dead;
    counts_.rows_dead += store_.rows_dead;
    counts_.entries_dead += store_.entries_dead;
    counts_.frames_duplicate += storing_->duplicate_frames();
    if (storing_->redis_epoch() == redis_epoch_) {
        acks_.insert(acks_.end(), storing_->ids().begin(), storing_->ids().end());
    }
    drain_.stored(storing_->rows(), storing_->rows_bytes());
    adapt_batch(now.steady_us - store_.began_at_us);
    storing_.reset();
}

// Down at once, up slowly, and up only by batches that were as large as they might be.
void LoaderCore::adapt_batch(int64_t took_us) {
    if (took_us > kStoreTargetUs) {
        fill_bytes_ = std::min(fill_bytes_, storing_->bytes()) / 2;
        fill_bytes_ = std::max(fill_bytes_, std::min(kFillBytesAtLeast, limits_.batch_bytes));
    } else if (storing_->bytes() + entry_bytes_ > fill_bytes_) {
        fill_bytes_ = std::min(fill_bytes_ + fill_bytes_ / 4, limits_.batch_bytes);
    }
}

}  // namespace sluice
