#include "daemon/load/consumer.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <random>

#include "daemon/clock.hpp"
#include "daemon/log.hpp"
#include "daemon/pulse.hpp"
#include "daemon/redis_login.hpp"

namespace sluice {
namespace {

Now read_clocks() {
    return {steady_us(), wall_us() / 1000};
}

LoadLimits limits_of(const Settings& settings) {
    LoadLimits limits;
    limits.batch_rows = static_cast<uint64_t>(settings.load_batch_rows);
    limits.batch_bytes = static_cast<uint64_t>(settings.load_batch_bytes);
    limits.batch_age_us = settings.load_batch_age_ms * 1000;
    limits.ledger_keep_ms = settings.load_ledger_keep_hours * 3600 * 1000;
    limits.tail_window_bytes = static_cast<uint64_t>(settings.load_tail_window_mb) * 1024 * 1024;
    limits.trim_groups = settings.redis_other_groups;
    limits.trim_groups.push_back(settings.redis_group);
    return limits;
}

RedisOptions redis_options_of(const Settings& settings, const std::string& consumer) {
    RedisOptions options;
    options.login = redis_login_of(settings, "sluiced-load");
    options.stream = settings.redis_stream;
    options.group = settings.redis_group;
    options.consumer = consumer;
    options.claim_idle_ms = settings.load_claim_idle_ms;
    return options;
}

PgOptions pg_options_of(const Settings& settings) {
    PgOptions options;
    options.login = pg_login_of(settings, PgUser::kLoader);
    options.application_name = "sluiced-load";
    options.session = "SET TimeZone = 'UTC'";
    options.timeout_ms = settings.postgres_timeout_ms;
    return options;
}

// Of a step that failed: never kOk.
PgStatus status_of(PgFailure failure) noexcept {
    switch (failure) {
        case PgFailure::kLost:
            return PgStatus::kLost;
        case PgFailure::kTransient:
            return PgStatus::kRetry;
        case PgFailure::kNoPartition:
            return PgStatus::kNoPartition;
        case PgFailure::kBadData:
            return PgStatus::kBadData;
        case PgFailure::kNone:
        case PgFailure::kRefused:
            break;
    }
    return PgStatus::kRefused;
}

bool perform_pg(const PgAction& action, PgStore* store, PgReply* reply) {
    switch (action.step) {
        case PgStep::kConnect:
            return store->connect();
        case PgStep::kCheck:
            return store->check();
        case PgStep::kMakePartitions:
            return store->make_partitions(action);
        case PgStep::kReserveIds:
            return store->reserve_ids(reply);
        case PgStep::kInsertLedger:
            return store->insert_ledger(*action.batch, reply);
        case PgStep::kCopy:
            return store->copy(action, reply);
        case PgStep::kCopyGoodRows:
            return store->copy_good_rows(action.letter);
        case PgStep::kDeadLetter:
            return store->insert_dead_letter(action.letter, reply);
        case PgStep::kCount:
            return store->count(action.counts);
        case PgStep::kCommit:
            return store->commit();
        case PgStep::kPruneLedger:
            return store->prune_ledger(action.ledger_hours.front(), reply);
        case PgStep::kWait:
        case PgStep::kStop:
            break;
    }
    return true;
}

}  // namespace

Consumer::Consumer(const Settings& settings, const std::string& name, LastSeen* last_seen,
                   Signals* done)
    : name_(name),
      core_(limits_of(settings), std::random_device()()),
      redis_(redis_options_of(settings, name)),
      store_(pg_options_of(settings), name, required_durability(settings)),
      last_seen_(last_seen),
      done_(done) {}

void Consumer::start() {
    redis_thread_ = std::thread([this] { run_lane(&Consumer::redis_lane, "redis"); });
    pg_thread_ = std::thread([this] { run_lane(&Consumer::pg_lane, "postgres"); });
}

void Consumer::stop() {
    const std::lock_guard<std::mutex> lock(mutex_);
    core_.stop();
    ++moves_;
    moved_.notify_all();
}

void Consumer::apply(const Settings& settings) {
    redis_.set_claim_idle(settings.load_claim_idle_ms);
    const std::lock_guard<std::mutex> lock(mutex_);
    core_.set_limits(limits_of(settings));
    ++moves_;
    moved_.notify_all();
}

bool Consumer::has_asked() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return core_.has_asked();
}

void Consumer::join() {
    redis_thread_.join();
    pg_thread_.join();
    log_as_consumer(name_);
    reporter_.finish(core_.counts());
    log_as_consumer("");
}

void Consumer::add_to(LoadFigures* figures) {
    const std::lock_guard<std::mutex> lock(mutex_);
    figures->add(core_.counts(), core_.histograms(), core_.gauges(read_clocks()));
}

void Consumer::run_lane(Lane lane, const char* lane_name) noexcept {
    log_as_consumer(name_);
    pulse_as(name_ + " " + lane_name);
    try {
        (this->*lane)();
    } catch (const std::exception& error) {
        log_error("a lane of the loader failed")
            .with("lane", lane_name)
            .with("error", error.what());
        failed_ = true;
    }
    if (--lanes_running_ == 0 || failed_) {
        done_->finished();
    }
}

void Consumer::wait(std::unique_lock<std::mutex>* lock, int64_t wait_us) {
    const uint64_t seen = moves_;
    pulse_rest();
    moved_.wait_for(*lock, std::chrono::microseconds(std::max<int64_t>(wait_us, 0)),
                    [&] { return moves_ != seen; });
    pulse();
}

void Consumer::redis_lane() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        const RedisAction action = core_.next_redis(read_clocks());
        if (action.step == RedisStep::kStop) {
            return;
        }
        if (action.step == RedisStep::kWait) {
            wait(&lock, action.wait_us);
            continue;
        }
        lock.unlock();
        pulse();
        RedisResult result = redis_.perform(action);
        lock.lock();
        const Now now = read_clocks();
        reporter_.redis_answered(action, result, redis_.error(), now.steady_us);
        const bool moves_other = !result.entries.empty() || result.status != RedisStatus::kOk;
        core_.redis_done(action, std::move(result), now);
        reporter_.look(core_, now.steady_us);
        if (moves_other) {
            ++moves_;
            moved_.notify_all();
        }
    }
}

void Consumer::pg_lane() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        const PgAction action = core_.next_pg(read_clocks());
        if (action.step == PgStep::kStop) {
            ++moves_;
            moved_.notify_all();
            return;
        }
        if (action.step == PgStep::kWait) {
            wait(&lock, action.wait_us);
            continue;
        }
        lock.unlock();
        pulse();
        PgReply reply;
        if (!perform_pg(action, &store_, &reply)) {
            reply.status = status_of(store_.error().failure);
            reply.sqlstate = store_.error().sqlstate;
            reply.reason = store_.error().message;
            reply.named_line = store_.error().copy_line;
        } else if (action.step == PgStep::kCommit) {
            last_seen_->take(store_.devices());
        }
        lock.lock();
        const Now now = read_clocks();
        reporter_.pg_answered(action, reply, store_.error(), now.steady_us);
        core_.pg_done(action, std::move(reply), now);
        ++moves_;
        moved_.notify_all();
    }
}

}  // namespace sluice
