#include "daemon/load/keeper.hpp"

#include <chrono>
#include <exception>

#include "daemon/clock.hpp"
#include "daemon/log.hpp"
#include "daemon/pulse.hpp"

namespace sluice {
namespace {

constexpr std::chrono::seconds kPause(15);
// While something is not as it should be.
constexpr std::chrono::seconds kUnwellPause(5);
constexpr int64_t kWarnIntervalUs = 60 * 1000 * 1000;
// Of a statement: who is waited for may take longer, and is waited for again in the next round.
constexpr int64_t kTimeoutMs = 2000;

PgOptions options_of(const Settings& settings) {
    PgOptions options;
    options.login = pg_login_of(settings, PgUser::kLoader);
    options.application_name = "sluiced-keep";
    options.session = "SET TimeZone = 'UTC'";
    options.timeout_ms = kTimeoutMs;
    return options;
}

Retention retention_of(const Settings& settings) {
    return {settings.storage_keep_days, settings.storage_keep_mb * 1024 * 1024};
}

}  // namespace

Keeper::Keeper(const Settings& settings, Signals* done)
    : redis_(settings),
      connection_(options_of(settings)),
      later_limit_(kWarnIntervalUs),
      off_limit_(kWarnIntervalUs),
      required_(required_durability(settings)),
      retention_(retention_of(settings)),
      done_(done) {}

void Keeper::start() {
    running_ = true;
    thread_ = std::thread([this] { run(); });
}

void Keeper::stop() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    asked_.notify_all();
}

void Keeper::apply(const Settings& settings) {
    const std::lock_guard<std::mutex> lock(mutex_);
    retention_ = retention_of(settings);
    applied_ = true;
    asked_.notify_all();
}

void Keeper::join() {
    if (thread_.joinable()) {
        thread_.join();
    }
}

KeeperFigures Keeper::figures() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return figures_;
}

void Keeper::run() noexcept {
    pulse_as("keeper");
    try {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!stopping()) {
            const Retention retention = retention_;
            applied_ = false;
            lock.unlock();
            round(retention);
            lock.lock();
            const bool is_well =
                redis_.is_well() && figures_.known && off_.empty() && figures_.partitions.tomorrow;
            const auto pause = is_well ? kPause : kUnwellPause;
            pulse_rest();
            asked_.wait_for(lock, pause, [this] { return stopping() || applied_; });
            pulse();
        }
    } catch (const std::exception& error) {
        log_error("the keeper failed").with("error", error.what());
    }
    running_ = false;
    done_->finished();
}

// Connected for the round only: it is short, and seldom.
void Keeper::round(const Retention& retention) {
    look_at_redis();
    // That Postgres is away is what the consumers say.
    if (stopping() || !connection_.connect()) {
        return;
    }
    look_at_postgres();
    uint64_t left_out = 0;
    if (!drop_old_logs(&connection_, retention, [this] { return stopping(); }) &&
        later_limit_.allow(steady_us(), &left_out)) {
        log_warn("old logs are dropped later")
            .with("sqlstate", connection_.error().sqlstate)
            .with("error", connection_.error().told())
            .with("left_out", left_out);
    }
    connection_.close();
}

void Keeper::look_at_redis() {
    redis_.look();
    const std::lock_guard<std::mutex> lock(mutex_);
    figures_.redis = redis_.figures();
}

// What cannot be looked at now is looked at in the next round.
void Keeper::look_at_postgres() {
    KeeperFigures seen;
    seen.redis = redis_.figures();
    seen.required = required_;
    seen.known = read_durability(&connection_, &seen.durability) &&
                 read_partitions(&connection_, &seen.partitions);
    if (seen.known) {
        tell(seen.durability);
        const std::lock_guard<std::mutex> lock(mutex_);
        figures_ = seen;
    }
}

// Each minute, until it is mended.
void Keeper::tell(const PgDurability& durability) {
    const std::string off = what_is_off(durability, required_);
    uint64_t left_out = 0;
    if (off != off_) {
        off_limit_ = LogLimit(kWarnIntervalUs);
    }
    if (off.empty() && !off_.empty()) {
        log_info("postgres is as durable as it must be again");
    } else if (!off.empty() && off_limit_.allow(steady_us(), &left_out)) {
        log_error("postgres would lose committed records in a crash").with("off", off);
    }
    off_ = off;
}

}  // namespace sluice
