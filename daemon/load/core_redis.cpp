// The core's Redis lane: reading, claiming, acknowledging, trimming.
#include <algorithm>

#include "daemon/load/core.hpp"

namespace sluice {
namespace {

constexpr int64_t kSecondUs = 1000 * 1000;
constexpr int64_t kPublishIntervalUs = kSecondUs / 2;
constexpr int64_t kTrimAtLeastUs = 5 * kSecondUs;  // also when another group was the last to ack
constexpr int64_t kLeftBehindUs = 60 * kSecondUs;  // how far a group may be behind this loader's
constexpr int64_t kReadPauseUs = 5 * 1000;         // between reads that found the stream empty
constexpr int64_t kBlockMaxUs = kSecondUs / 2;
constexpr int64_t kHourMs = 3600 * 1000;
constexpr size_t kAcksPerCommand = 1000;
constexpr size_t kLeftIdsMax = 10000;
constexpr uint64_t kEntryBytesAtLeast = 1024;
// Read without having seen as many small ones before: a default batch of the largest entries.
constexpr uint32_t kFirstReadCount = 8;

}  // namespace

LoaderCore::LoaderCore(LoadLimits limits, uint64_t seed)
    : limits_(std::move(limits)),
      redis_backoff_(100 * 1000, 2 * kSecondUs, seed ^ 0x9e3779b97f4a7c15U),
      window_(limits_.tail_window_bytes),
      read_count_limit_(kFirstReadCount),
      trim_(limits_.trim_groups),
      fill_bytes_(limits_.batch_bytes),
      pg_backoff_(100 * 1000, 5 * kSecondUs, seed ^ 0xbf58476d1ce4e5b9U),
      refused_backoff_(kSecondUs, 60 * kSecondUs, seed ^ 0x94d049bb133111ebU) {}

void LoaderCore::set_limits(LoadLimits limits) {
    // A slow Postgres goes on getting smaller batches.
    const bool slowed = fill_bytes_ < limits_.batch_bytes;
    fill_bytes_ = slowed ? std::min(fill_bytes_, limits.batch_bytes) : limits.batch_bytes;
    if (limits.tail_window_bytes != limits_.tail_window_bytes) {
        window_.set_bytes_max(limits.tail_window_bytes);
    }
    limits.trim_groups = std::move(limits_.trim_groups);
    limits_ = std::move(limits);
}

bool LoaderCore::has_asked() const noexcept {
    return pg_known_ && (redis_ == RedisLink::kReading || counts_.redis_failures != 0);
}

uint64_t LoaderCore::buffered_bytes() const noexcept {
    return (filling_ ? filling_->bytes() : 0) + (storing_ ? storing_->bytes() : 0);
}

RedisAction LoaderCore::next_redis(const Now& now) {
    RedisAction action;
    if (redis_ == RedisLink::kDown) {
        if (stopping_) {
            action.step = RedisStep::kStop;
        } else if (now.steady_us < redis_retry_at_us_) {
            action.wait_us = redis_retry_at_us_ - now.steady_us;
        } else {
            action.step = RedisStep::kConnect;
        }
        return action;
    }
    if (redis_ == RedisLink::kConnected) {
        if (stopping_) {
            action.step = RedisStep::kStop;
        } else if (now.steady_us < redis_retry_at_us_) {
            action.wait_us = redis_retry_at_us_ - now.steady_us;
        } else {
            action.step = RedisStep::kEnsureGroup;
        }
        return action;
    }
    if (!acks_.empty()) {
        action.step = RedisStep::kAck;
        const size_t count = std::min(acks_.size(), kAcksPerCommand);
        // Taken out at once: the other lane may add to the rest meanwhile.
        action.ids.assign(acks_.end() - static_cast<ptrdiff_t>(count), acks_.end());
        acks_.resize(acks_.size() - count);
        return action;
    }
    if (stopping_) {
        action.step = pg_stopped_ ? RedisStep::kStop : RedisStep::kWait;
        action.wait_us = kSecondUs;
        return action;
    }
    const bool up = postgres_up(now);
    if (pg_known_ && (now.steady_us >= publish_at_us_ || up != published_up_)) {
        if (!measured_) {
            action.step = RedisStep::kMeasure;
            return action;
        }
        if (!waiting_.places().empty()) {
            action.step = RedisStep::kLook;
            action.places = waiting_.places();
            action.count = waiting_.count();
            return action;
        }
        measured_ = false;
        published_up_ = up;
        drain_.pass(now.steady_us, has_work());
        action.step = RedisStep::kPublish;
        action.state = state(up);
        return action;
    }
    return next_read(now);
}

RedisAction LoaderCore::next_read(const Now& now) {
    if (!trim_.running() && now.steady_us >= trim_at_us_) {
        trim_.start();
        acked_since_trim_ = false;
    }
    if (trim_.running()) {
        RedisAction action = trim_.next();
        action.keep = window_.entries();
        return action;
    }
    RedisAction action;
    if (own_done_ && newest_stored_ms_ != 0 && now.steady_us >= oldest_at_us_) {
        action.step = RedisStep::kInspectOldest;
        return action;
    }
    if (!has_room()) {
        return wait_redis(now);
    }
    action.count = read_count();
    if (!own_done_) {
        action.step = RedisStep::kReadOwn;
        action.from = own_after_;
    } else if (pg_up_ && !pg_refused_ && now.steady_us >= claim_at_us_) {
        action.step = RedisStep::kClaim;
        action.from = claim_cursor_;
    } else if (now.steady_us >= read_at_us_) {
        action.step = RedisStep::kReadNew;
        // Blocking is for idle times: with a batch anywhere, an answer of Postgres must find this
        // lane free to acknowledge.
        if (!filling_ && !storing_) {
            const int64_t until = std::min(publish_at_us_, trim_at_us_);
            const int64_t block_us = std::clamp<int64_t>(until - now.steady_us, 1000, kBlockMaxUs);
            action.block_ms = static_cast<uint32_t>(block_us / 1000);
        }
    } else {
        return wait_redis(now);
    }
    return action;
}

RedisAction LoaderCore::wait_redis(const Now& now) const {
    RedisAction action;
    int64_t until = trim_at_us_;
    if (pg_known_) {
        until = std::min(until, publish_at_us_);
    }
    if (has_room()) {
        until = std::min(until, read_at_us_);
    }
    action.wait_us = std::max<int64_t>(until - now.steady_us, 1);
    return action;
}

void LoaderCore::redis_done(const RedisAction& action, RedisResult result, const Now& now) {
    drain_.pass(now.steady_us, has_work());
    if (result.status != RedisStatus::kOk) {
        ++counts_.redis_answers[static_cast<size_t>(result.status)];
        redis_failed(action, result.status, now);
        return;
    }
    switch (action.step) {
        case RedisStep::kConnect:
            forget_redis_state();
            redis_ = RedisLink::kConnected;
            break;
        case RedisStep::kEnsureGroup:
            redis_ = RedisLink::kReading;
            counts_.groups_made += result.group_made ? 1 : 0;
            break;
        case RedisStep::kReadOwn:
        case RedisStep::kClaim:
        case RedisStep::kReadNew:
            redis_backoff_.reset();
            entries_read(action, result, now);
            break;
        case RedisStep::kAck:
            counts_.entries_acked += action.ids.size();
            acked_since_trim_ = true;
            trim_at_us_ = std::min(trim_at_us_, now.steady_us + limits_.trim_interval_us);
            break;
        case RedisStep::kInspectGroups:
        case RedisStep::kInspectPending:
        case RedisStep::kTrim:
            counts_.entries_trimmed += result.trimmed;
            if (action.step == RedisStep::kInspectGroups && state_lost(result)) {
                break;
            }
            if (action.step == RedisStep::kInspectPending) {
                pending_inspected(action, result);
            }
            trim_.done(action, result);
            if (action.step == RedisStep::kTrim) {
                look_for_group_left_behind(now);
            }
            if (!trim_.running()) {
                trim_at_us_ =
                    now.steady_us + (acked_since_trim_ ? limits_.trim_interval_us : kTrimAtLeastUs);
            }
            break;
        case RedisStep::kInspectOldest:
            oldest_inspected(result, now);
            break;
        case RedisStep::kMeasure:
            measured(result, now);
            break;
        case RedisStep::kLook:
            waiting_.looked(result.samples);
            break;
        case RedisStep::kPublish:
            publish_at_us_ = now.steady_us + kPublishIntervalUs;
            break;
        case RedisStep::kWait:
        case RedisStep::kStop:
            break;
    }
}

// Ids may mean other entries from here on: what was read is read again, nothing that was read
// before is acknowledged. A batch that is being stored goes on; the ledger will know its frames.
void LoaderCore::forget_redis_state() {
    ++redis_epoch_;
    backlog_count_.forget();
    waiting_ = Waiting();
    filling_.reset();
    acks_.clear();
    trim_.drop();
    trim_at_us_ = 0;  // whether Redis lost state is seen before anything new is read
    left_ids_.clear();
    trim_held_ = false;
    left_behind_ = nullptr;
    own_bound_before_ = StreamId{};
    own_done_ = false;
    own_after_ = StreamId{};
    claim_cursor_ = StreamId{};
}

void LoaderCore::redis_failed(const RedisAction& action, RedisStatus status, const Now& now) {
    const bool trimming = action.step == RedisStep::kInspectGroups ||
                          action.step == RedisStep::kInspectPending ||
                          action.step == RedisStep::kTrim;
    if (trimming) {
        trim_.drop();
        trim_at_us_ = now.steady_us + kTrimAtLeastUs;
    } else if (action.step == RedisStep::kMeasure) {
        measured_ = true;  // what else there is to tell is told
        backlog_known_ = false;
    } else if (action.step == RedisStep::kLook) {
        waiting_.looked({});  // what is known already is told
    } else if (action.step == RedisStep::kPublish) {
        publish_at_us_ = now.steady_us + kPublishIntervalUs;
    } else if (action.step == RedisStep::kInspectOldest) {
        oldest_at_us_ = now.steady_us + limits_.prune_interval_us;
    }
    if (status == RedisStatus::kNoGroup) {
        forget_redis_state();
        redis_ = RedisLink::kConnected;
        return;
    }
    ++counts_.redis_failures;
    if (action.count != 0 && status == RedisStatus::kLost) {
        // The answer may have been too large for the time there is.
        read_count_limit_ = std::max(action.count / 2, 1U);
    }
    if (status == RedisStatus::kRefused &&
        (trimming || action.step == RedisStep::kMeasure || action.step == RedisStep::kLook ||
         action.step == RedisStep::kPublish || action.step == RedisStep::kInspectOldest)) {
        return;  // none of these is needed to go on storing
    }
    redis_retry_at_us_ = now.steady_us + redis_backoff_.next_us();
    if (status == RedisStatus::kRefused && action.step == RedisStep::kEnsureGroup) {
        // A full Redis refuses this even where the group exists, and has room again only when its
        // entries are read: whether it exists is seen by reading.
        redis_ = RedisLink::kReading;
        return;
    }
    forget_redis_state();
    redis_ = RedisLink::kDown;
}

void LoaderCore::entries_read(const RedisAction& action, RedisResult& result, const Now& now) {
    const size_t read = result.entries.size();
    if (action.step == RedisStep::kReadOwn) {
        if (read == 0) {
            own_done_ = true;
        } else {
            own_after_ = result.entries.back().id;
        }
    } else if (action.step == RedisStep::kClaim) {
        counts_.entries_gone += result.gone;
        claim_cursor_ = result.cursor;
        if (result.cursor == StreamId{}) {
            claim_at_us_ = now.steady_us + limits_.claim_interval_us;
        }
    } else {
        if (read != 0) {
            newest_read_ = std::max(newest_read_, result.entries.back().id);
        }
        // Less than asked for means that the stream is read to its end: let it gather.
        read_at_us_ = read < action.count ? now.steady_us + kReadPauseUs : now.steady_us;
    }
    // Counted by what came, not by what was asked for: entries behind the ones seen may be larger.
    read_count_limit_ =
        std::max(kFirstReadCount, static_cast<uint32_t>(std::min<size_t>(2 * read, UINT32_MAX)));
    take_entries(result, action.step == RedisStep::kClaim, now);
}

// The ledger must know every frame that may come back: those of the stream, with an hour between
// for clocks that differ, and those that a failover or an AOF's replay brings back, which is what
// ledger_keep_ms is for. Counted from the newest frame stored, unless this clock is behind it: a
// clock that has jumped ahead must not empty the ledger.
void LoaderCore::oldest_inspected(const RedisResult& result, const Now& now) {
    oldest_at_us_ = now.steady_us + limits_.prune_interval_us;
    int64_t before_ms = std::min(now.wall_ms, newest_stored_ms_) - limits_.ledger_keep_ms;
    for (const Entry& entry : result.entries) {
        if (entry.gone || entry.error == FrameError::kUnknownVersion) {
            return;  // its time is not known
        }
        before_ms = std::min(before_ms, entry.frame.receive_time_ms - kHourMs);
    }
    prune_before_hour_ = std::max<int64_t>(before_ms / kHourMs, 0);
}

void LoaderCore::take_entries(RedisResult& result, bool may_be_held, const Now& now) {
    const std::set<StreamId> held = may_be_held ? held_ids() : std::set<StreamId>{};
    uint64_t largest = 0;
    bool taken = false;
    for (const Entry& entry : result.entries) {
        if (entry.gone) {
            // Nothing can bring it back: acknowledged, so that it does not hold back trimming.
            ++counts_.entries_gone;
            acks_.push_back(entry.id);
            continue;
        }
        if (entry.error == FrameError::kUnknownVersion) {
            leave_entry(entry);
            continue;
        }
        if (held.count(entry.id) != 0) {
            continue;
        }
        if (!filling_) {
            filling_ = std::make_unique<Batch>(now.steady_us, redis_epoch_);
        }
        filling_->add(entry);
        edge_clocks_.seen(entry.frame.receive_time_ms, static_cast<int64_t>(entry.id.ms),
                          now.steady_us);
        counts_.entries_claimed += may_be_held ? 1 : 0;
        counts_.entries_plain += entry.plain ? 1 : 0;
        counts_.times_clamped += entry.frame.time_clamped ? 1 : 0;
        entry_size_.seen(entry.frame.records, entry.frame.rows.size());
        window_.seen(entry.frame.rows.size() + entry.other_bytes);
        largest = std::max(largest, Batch::bytes_of(entry));
        taken = true;
    }
    if (taken) {
        filling_->keep(std::move(result.bytes));
        // Up at once, down slowly: what counts is how much a read may bring at worst.
        entry_bytes_ = std::max({largest, entry_bytes_ - entry_bytes_ / 8, kEntryBytesAtLeast});
    }
}

// A group that does not exist has all of the stream before it.
void LoaderCore::measured(const RedisResult& result, const Now& now) {
    GroupPosition own;
    for (const GroupPosition& group : result.groups) {
        if (group.name == limits_.trim_groups.back()) {
            own = group;
        }
    }
    measured_ = true;
    backlog_known_ = true;
    backlog_entries_ = backlog_count_.entries(result.stream, own);
    kept_ = std::max(result.stream.entries, backlog_entries_) - backlog_entries_;
    pending_ = own.pending;
    pending_amount_ = amount_pending();
    waiting_.measured(result.stream, own.last_delivered, backlog_entries_ - pending_);
    window_.told(result.kept);
    window_.measured(result.memory);
    if (window_.gives_way()) {
        trim_at_us_ = std::min(trim_at_us_, now.steady_us);  // though nobody acknowledges
    }
}

// What this consumer holds is known; others hold what is like that which this one read lately. What
// is only to be acknowledged waits no longer.
Amount LoaderCore::amount_pending() const noexcept {
    Amount amount;
    uint64_t known = acks_.size();
    for (const Batch* batch : {filling_.get(), storing_.get()}) {
        if (batch != nullptr && batch->redis_epoch() == redis_epoch_) {
            known += batch->ids().size();
            amount.records += batch->rows();
            amount.bytes += batch->rows_bytes();
        }
    }
    const Amount others = entry_size_.of(pending_ - std::min(pending_, known));
    return {amount.records + others.records, amount.bytes + others.bytes};
}

LoadGauges LoaderCore::gauges(const Now& now) const noexcept {
    LoadGauges gauges;
    gauges.redis_connected = redis_ != RedisLink::kDown;
    gauges.postgres_connected = pg_connected_;
    gauges.state = state(postgres_up(now));
    gauges.pending = pending_;
    gauges.buffered_bytes = buffered_bytes();
    gauges.edges_ahead_ms = edge_clocks_.ahead_ms(now.steady_us);
    gauges.edges_behind_ms = edge_clocks_.behind_ms(now.steady_us);
    return gauges;
}

LoadState LoaderCore::state(bool postgres_up) const noexcept {
    LoadState state;
    state.postgres_up = postgres_up;
    state.drain = drain_.a_second();
    state.backlog_known = backlog_known_;
    state.backlog_entries = backlog_entries_;
    const Amount undelivered = waiting_.amount();
    state.backlog = {pending_amount_.records + undelivered.records,
                     pending_amount_.bytes + undelivered.bytes};
    state.kept = {kept_, window_.entry_bytes()};
    return state;
}

// Claims find such an entry again and again: it is counted once, as long as there are not very
// many.
void LoaderCore::leave_entry(const Entry& entry) {
    if (left_ids_.count(entry.id) != 0) {
        return;
    }
    if (left_ids_.size() < kLeftIdsMax) {
        left_ids_.insert(entry.id);
    }
    ++counts_.entries_unknown_version;
}

// A group's last delivered id only grows, unless Redis comes back without its last writes, or
// somebody sets the group back to read entries again: either way ids may mean other entries now.
bool LoaderCore::state_lost(const RedisResult& result) {
    for (const GroupPosition& group : result.groups) {
        if (group.name == limits_.trim_groups.back() && group.last_delivered < newest_read_) {
            ++counts_.state_losses;
            newest_read_ = group.last_delivered;
            forget_redis_state();
            return true;
        }
    }
    return false;
}

// What lies below the first pending id has been seen to by somebody.
void LoaderCore::pending_inspected(const RedisAction& action, const RedisResult& result) {
    if (action.group != limits_.trim_groups.back()) {
        return;
    }
    left_ids_.erase(left_ids_.begin(), result.has_pending
                                           ? left_ids_.lower_bound(result.first_pending)
                                           : left_ids_.end());
    trim_held_ = !left_ids_.empty() && *left_ids_.begin() == result.first_pending;
}

// Once in a while: is every group as far as this loader's was the last time?
void LoaderCore::look_for_group_left_behind(const Now& now) {
    if (now.steady_us < left_behind_at_us_) {
        return;
    }
    left_behind_at_us_ = now.steady_us + kLeftBehindUs;
    left_behind_ = trim_.bound() < own_bound_before_ ? &trim_.slowest() : nullptr;
    own_bound_before_ = trim_.own_bound();
}

const StreamId* LoaderCore::trim_held_by() const noexcept {
    return trim_held_ ? &*left_ids_.begin() : nullptr;
}

// A claim also finds this consumer's own entries when they have been waiting for long.
std::set<StreamId> LoaderCore::held_ids() const {
    std::set<StreamId> held(acks_.begin(), acks_.end());
    for (const Batch* batch : {filling_.get(), storing_.get()}) {
        if (batch != nullptr && batch->redis_epoch() == redis_epoch_) {
            held.insert(batch->ids().begin(), batch->ids().end());
        }
    }
    return held;
}

bool LoaderCore::has_room() const noexcept {
    return !filling_ || (filling_->rows() < limits_.batch_rows &&
                         filling_->bytes() + entry_bytes_ <= fill_bytes_);
}

uint32_t LoaderCore::read_count() const noexcept {
    const uint64_t filled = filling_ ? filling_->bytes() : 0;
    const uint64_t room = fill_bytes_ > filled ? fill_bytes_ - filled : 0;
    return static_cast<uint32_t>(std::clamp<uint64_t>(
        room / entry_bytes_, 1, std::min(read_count_limit_, limits_.read_count_max)));
}

}  // namespace sluice
