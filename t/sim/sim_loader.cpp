#include "t/sim/sim_loader.hpp"

#include <algorithm>

#include "t/sim/redis_shell.hpp"
#include "t/sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr int64_t kNever = INT64_MAX;
// The core takes no entry for smaller than this when it guesses how many to read.
constexpr uint64_t kEntryBytesAtLeast = 1024;

constexpr const char* name_of(SimLoader::Loss loss) noexcept {
    return loss == SimLoader::Loss::kBefore  ? "never done"
           : loss == SimLoader::Loss::kAfter ? "done"
                                             : "done later";
}

}  // namespace

void SimLoader::start() {
    core_ = std::make_unique<LoaderCore>(world_->plan.limits, world_->chance.next());
    redis_lane_ = {};
    pg_lane_ = {};
    redis_run_ = 0;
    session_ = 0;
    trimming_ = false;
    stopping_ = false;
    stopped_well_at_fault_ = UINT64_MAX;
    expected_ = {};
    if (world_->trace.on()) {
        world_->trace.line("loader %u starts", number_);
    }
}

// The kernel closes its connections; what was on the way to the servers may still arrive.
void SimLoader::kill() {
    Chance& chance = world_->chance;
    lose_redis(static_cast<Loss>(chance.below(3)));
    const int64_t until_us = world_->now_us + chance.between(0, 2000 * 1000);
    lose_postgres(static_cast<Loss>(chance.below(3)), until_us);
    core_.reset();
    if (world_->trace.on()) {
        world_->trace.line("loader %u is killed", number_);
    }
}

void SimLoader::stop() {
    // What is being read at this moment is left to whoever comes next; what is being answered may
    // be bad news.
    const bool well =
        !stopping_ && redis_lane_.phase == Phase::kIdle && pg_lane_.phase != Phase::kAnswered &&
        core_->postgres_up(now()) && world_->postgres.is_open(session_) &&
        core_->counts().batches_refused == 0 && !world_->plan.has(Fault::kPgRefusesAllRows) &&
        !world_->plan.has(Fault::kPgPartitionDropped) && world_->plan.large_percent == 0;
    stopped_well_at_fault_ = well ? world_->faults_struck : UINT64_MAX;
    stopping_ = true;
    core_->stop();
    wake(Lane::kRedis);
    wake(Lane::kPg);
}

void SimLoader::retire() {
    if (stopped_well_at_fault_ == world_->faults_struck && core_->buffered_bytes() != 0) {
        violated("loader %u was stopped and left rows behind that it could have stored", number_);
    }
    world_->postgres.abandon(session_, world_->now_us, false);
    core_.reset();
}

bool SimLoader::ended() const noexcept {
    return running() && redis_lane_.phase == Phase::kEnded && pg_lane_.phase == Phase::kEnded;
}

Now SimLoader::now() const {
    return {world_->now_us, world_->wall_ms() + wall_offset_ms_};
}

bool SimLoader::ready(Lane lane) const {
    return ready_at_us(lane) <= world_->now_us;
}

int64_t SimLoader::ready_at_us(Lane lane) const {
    const LaneState& own = state(lane);
    if (!running() || own.phase == Phase::kEnded) {
        return kNever;
    }
    int64_t at_us = world_->now_us;
    if (own.phase == Phase::kIdle) {
        at_us = own.wake_at_us;
    } else if (own.phase == Phase::kSent && lane == Lane::kRedis && redis_blocks()) {
        at_us = redis_sent_at_us_ + int64_t{redis_action_.block_ms} * 1000;
    } else if (own.phase == Phase::kSent && lane == Lane::kPg && pg_waits_ &&
               seen_ended_ == world_->postgres.ended_transactions()) {
        return kNever;
    }
    return std::max(at_us, own.stalled_until_us);
}

void SimLoader::move(Lane lane) {
    const Phase phase = state(lane).phase;
    if (lane == Lane::kRedis) {
        phase == Phase::kIdle ? ask_redis() : phase == Phase::kSent ? send_redis() : answer_redis();
    } else {
        phase == Phase::kIdle ? ask_pg() : phase == Phase::kSent ? send_pg() : answer_pg();
    }
}

// As the loader's condition variable: the other lane has moved.
void SimLoader::wake(Lane lane) {
    LaneState& other = lane == Lane::kRedis ? redis_lane_ : pg_lane_;
    other.wake_at_us = std::min(other.wake_at_us, world_->now_us);
}

void SimLoader::ask_redis() {
    redis_action_ = core_->next_redis(now());
    if (redis_action_.step == RedisStep::kWait) {
        redis_lane_.wake_at_us = world_->now_us + std::max<int64_t>(redis_action_.wait_us, 0);
    } else if (redis_action_.step == RedisStep::kStop) {
        redis_lane_.phase = Phase::kEnded;
    } else {
        redis_lane_.phase = Phase::kSent;
        redis_sent_at_us_ = world_->now_us;
    }
}

bool SimLoader::redis_blocks() const {
    const SimRedis& redis = world_->redis;
    return redis_action_.block_ms != 0 && redis_run_ == world_->redis_run &&
           redis.group(GroupName::kLoaders).exists && !redis.has_new(GroupName::kLoaders) &&
           world_->now_us < redis_sent_at_us_ + int64_t{redis_action_.block_ms} * 1000;
}

void SimLoader::send_redis() {
    redis_lane_.phase = Phase::kAnswered;
    redis_result_ = {};
    if (redis_action_.step == RedisStep::kConnect) {
        redis_run_ = world_->redis_up() ? world_->redis_run : 0;
        redis_result_.status = redis_run_ != 0 ? RedisStatus::kOk : RedisStatus::kLost;
    } else if (redis_run_ != world_->redis_run || !world_->redis_up()) {
        redis_run_ = 0;
        redis_result_.status = RedisStatus::kLost;
    } else {
        redis_result_ = perform_redis(world_, number_, redis_action_);
    }
    const RedisStep step = redis_action_.step;
    if (step == RedisStep::kInspectGroups) {
        trimming_ = true;
    } else if (step != RedisStep::kInspectPending && step != RedisStep::kTrim &&
               step != RedisStep::kAck && step != RedisStep::kMeasure && step != RedisStep::kLook &&
               step != RedisStep::kPublish) {
        trimming_ = false;
    }
}

void SimLoader::answer_redis() {
    if (world_->trace.on()) {
        world_->trace.line("loader %u: redis %s: %s", number_, text_of(redis_action_).c_str(),
                           text_of(redis_result_).c_str());
    }
    redis_lane_.phase = Phase::kIdle;
    redis_lane_.wake_at_us = world_->now_us;
    expect_counts(redis_action_, redis_result_);
    const bool moves_other =
        !redis_result_.entries.empty() || redis_result_.status != RedisStatus::kOk;
    core_->redis_done(redis_action_, std::move(redis_result_), now());
    if (moves_other) {
        wake(Lane::kPg);
    }
    check_core();
}

void SimLoader::ask_pg() {
    pg_action_ = core_->next_pg(now());
    if (pg_action_.step == PgStep::kWait) {
        pg_lane_.wake_at_us = world_->now_us + std::max<int64_t>(pg_action_.wait_us, 0);
    } else if (pg_action_.step == PgStep::kStop) {
        pg_lane_.phase = Phase::kEnded;
        wake(Lane::kRedis);
    } else {
        pg_lane_.phase = Phase::kSent;
    }
}

void SimLoader::send_pg() {
    SimPostgres& postgres = world_->postgres;
    pg_reply_ = {};
    pg_waits_ = false;
    if (pg_action_.step == PgStep::kConnect) {
        postgres.abandon(session_, world_->now_us, false);
        session_ = world_->postgres_up() ? postgres.connect(number_) : 0;
        pg_reply_.status = session_ != 0 ? PgStatus::kOk : PgStatus::kLost;
    } else if (!postgres.is_open(session_) || !world_->postgres_up()) {
        session_ = 0;
        pg_reply_.status = PgStatus::kLost;
    } else if (pg_action_.step == PgStep::kPruneLedger && world_->rows_are_held()) {
        postgres.roll_back(session_);
        pg_reply_.status = PgStatus::kRetry;
    } else {
        if (pg_action_.step == PgStep::kCommit) {
            const Written& written = postgres.written(session_);
            expected_commit_ = {};
            expected_commit_.frames_stored = written.ledger.size();
            expected_commit_.rows_stored = written.rows.size();
            expected_commit_.rows_dead = written.letters.size();
            expected_commit_.entries_dead = written.whole_letters.size();
            expected_commit_.frames_duplicate = pg_action_.batch->ids().size() -
                                                pg_action_.batch->dead_entries().size() -
                                                written.ledger.size();
        }
        if (!postgres.perform(session_, pg_action_, world_->wall_ms(), &pg_reply_)) {
            pg_waits_ = true;
            seen_ended_ = postgres.ended_transactions();
            return;
        }
    }
    pg_lane_.phase = Phase::kAnswered;
}

void SimLoader::answer_pg() {
    if (world_->trace.on()) {
        world_->trace.line("loader %u: postgres %s: %s", number_, text_of(pg_action_).c_str(),
                           text_of(pg_reply_).c_str());
    }
    pg_lane_.phase = Phase::kIdle;
    pg_lane_.wake_at_us = world_->now_us;
    expect_counts(pg_action_, pg_reply_);
    core_->pg_done(pg_action_, std::move(pg_reply_), now());
    wake(Lane::kRedis);
    check_core();
}

void SimLoader::lose_redis(Loss loss) {
    if (redis_lane_.phase == Phase::kSent && redis_run_ == world_->redis_run &&
        redis_action_.step != RedisStep::kConnect) {
        // What a late read brings is found by claims only.
        const bool strands = !world_->plan.claims() && redis_action_.count != 0;
        if (loss == Loss::kAfter || (loss == Loss::kLater && strands)) {
            perform_redis(world_, number_, redis_action_);
        } else if (loss == Loss::kLater) {
            world_->late_commands.push_back({number_, redis_action_});
        }
    }
    if (redis_lane_.phase == Phase::kSent || redis_lane_.phase == Phase::kAnswered) {
        redis_lane_.phase = Phase::kAnswered;
        redis_result_ = {};
        redis_result_.status = RedisStatus::kLost;
    }
    redis_run_ = 0;
    if (world_->trace.on()) {
        world_->trace.line("loader %u loses redis (%s)", number_, name_of(loss));
    }
}

bool SimLoader::refuse_redis() {
    if (!running() || redis_lane_.phase != Phase::kSent ||
        redis_action_.step == RedisStep::kConnect) {
        return false;
    }
    redis_lane_.phase = Phase::kAnswered;
    redis_result_ = {};
    redis_result_.status = RedisStatus::kRefused;
    return true;
}

void SimLoader::lose_postgres(Loss loss, int64_t until_us) {
    SimPostgres& postgres = world_->postgres;
    const bool sent = pg_lane_.phase == Phase::kSent && postgres.is_open(session_) &&
                      pg_action_.step != PgStep::kConnect;
    if (sent && loss == Loss::kAfter) {
        PgReply unheard;
        postgres.perform(session_, pg_action_, world_->wall_ms(), &unheard);
    }
    postgres.abandon(session_, until_us,
                     sent && loss == Loss::kLater && pg_action_.step == PgStep::kCommit);
    if (pg_lane_.phase == Phase::kSent || pg_lane_.phase == Phase::kAnswered) {
        pg_lane_.phase = Phase::kAnswered;
        pg_reply_ = {};
        pg_reply_.status = PgStatus::kLost;
    }
    session_ = 0;
    if (world_->trace.on()) {
        world_->trace.line("loader %u loses postgres (%s)", number_, name_of(loss));
    }
}

bool SimLoader::fail_postgres(PgStatus status) {
    SimPostgres& postgres = world_->postgres;
    if (!running() || pg_lane_.phase != Phase::kSent || !postgres.is_open(session_) ||
        pg_action_.step == PgStep::kConnect) {
        return false;
    }
    postgres.roll_back(session_);
    pg_lane_.phase = Phase::kAnswered;
    pg_reply_ = {};
    pg_reply_.status = status;
    return true;
}

void SimLoader::stall(Lane lane, int64_t until_us) {
    (lane == Lane::kRedis ? redis_lane_ : pg_lane_).stalled_until_us = until_us;
}

void SimLoader::expect_counts(const RedisAction& action, const RedisResult& result) {
    const RedisStatus status = result.status;
    expected_.redis_failures += status == RedisStatus::kRefused || status == RedisStatus::kLost;
    if (status != RedisStatus::kOk) {
        return;
    }
    expected_.groups_made += result.group_made ? 1 : 0;
    expected_.entries_acked += action.ids.size();
    expected_.entries_trimmed += result.trimmed;
    expected_.entries_gone += result.gone;
    for (const Entry& entry : result.entries) {
        expected_.entries_gone += entry.gone ? 1 : 0;
        largest_entry_ = std::max(largest_entry_, Batch::bytes_of(entry));
    }
}

void SimLoader::expect_counts(const PgAction& action, const PgReply& reply) {
    const bool refused_rows = action.step == PgStep::kCopy && reply.status == PgStatus::kBadData;
    if (reply.status != PgStatus::kOk) {
        expected_.pg_failures += refused_rows ? 0 : 1;
    } else if (action.step == PgStep::kCommit) {
        expected_.frames_stored += expected_commit_.frames_stored;
        expected_.rows_stored += expected_commit_.rows_stored;
        expected_.rows_dead += expected_commit_.rows_dead;
        expected_.entries_dead += expected_commit_.entries_dead;
        expected_.frames_duplicate += expected_commit_.frames_duplicate;
    }
}

void SimLoader::check_core() const {
    const LoadCounts& counts = core_->counts();
    if (counts.frames_stored != expected_.frames_stored ||
        counts.rows_stored != expected_.rows_stored || counts.rows_dead != expected_.rows_dead ||
        counts.entries_dead != expected_.entries_dead ||
        counts.frames_duplicate != expected_.frames_duplicate ||
        counts.entries_acked != expected_.entries_acked ||
        counts.entries_trimmed != expected_.entries_trimmed ||
        counts.entries_gone != expected_.entries_gone ||
        counts.groups_made != expected_.groups_made ||
        counts.redis_failures != expected_.redis_failures ||
        counts.pg_failures != expected_.pg_failures) {
        violated("loader %u counts otherwise than it was answered", number_);
    }
    if (counts.state_losses != 0 && !world_->redis_lost_state) {
        violated("loader %u says that Redis lost state, which it did not", number_);
    }
    const LoadLimits& limits = world_->plan.limits;
    const uint64_t batch_max = largest_entry_ <= kEntryBytesAtLeast
                                   ? std::max(limits.batch_bytes, largest_entry_)
                                   : limits.batch_bytes + limits.read_count_max * largest_entry_;
    if (core_->buffered_bytes() > 2 * batch_max) {
        violated("loader %u holds %llu bytes, more than two batches", number_,
                 static_cast<unsigned long long>(core_->buffered_bytes()));
    }
}

}  // namespace sluice::sim
