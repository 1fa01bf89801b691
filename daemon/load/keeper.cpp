#include "daemon/load/keeper.hpp"

#include <chrono>
#include <exception>

#include "daemon/clock.hpp"
#include "daemon/log.hpp"

namespace sluice {
namespace {

constexpr std::chrono::seconds kPause(60);
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

}  // namespace

Keeper::Keeper(const Settings& settings, StopSignals* done)
    : retention_{settings.storage_keep_days, settings.storage_keep_mb * 1024 * 1024},
      connection_(options_of(settings)),
      later_limit_(kWarnIntervalUs),
      done_(done) {}

void Keeper::start() {
    running_ = true;
    thread_ = std::thread([this] { run(); });
}

void Keeper::stop() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    stop_asked_.notify_all();
}

void Keeper::join() {
    if (thread_.joinable()) {
        thread_.join();
    }
}

void Keeper::run() noexcept {
    try {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!stopping()) {
            lock.unlock();
            round();
            lock.lock();
            stop_asked_.wait_for(lock, kPause, [this] { return stopping(); });
        }
    } catch (const std::exception& error) {
        log_error("the keeper failed").with("error", error.what());
    }
    running_ = false;
    done_->finished();
}

// Connected for the round only: it is short, and seldom.
void Keeper::round() {
    // That Postgres is away is what the consumers say.
    if (!connection_.connect()) {
        return;
    }
    uint64_t left_out = 0;
    if (!drop_old_logs(&connection_, retention_, [this] { return stopping(); }) &&
        later_limit_.allow(steady_us(), &left_out)) {
        log_warn("old logs are dropped later")
            .with("sqlstate", connection_.error().sqlstate)
            .with("error", connection_.error().told())
            .with("left_out", left_out);
    }
    connection_.close();
}

}  // namespace sluice
