#include "daemon/load/keeper.hpp"

#include <chrono>
#include <exception>

#include "daemon/log.hpp"

namespace sluice {
namespace {

constexpr std::chrono::seconds kPause(60);
// Of a statement: who is waited for may take longer, and is waited for again in the next round.
constexpr int64_t kTimeoutMs = 2000;

PgOptions options_of(const Settings& settings) {
    PgOptions options;
    options.dsn = settings.postgres_dsn;
    options.application_name = "sluiced-keep";
    options.session = "SET TimeZone = 'UTC'";
    options.timeout_ms = kTimeoutMs;
    return options;
}

}  // namespace

Keeper::Keeper(const Settings& settings, StopSignals* done)
    : retention_{settings.storage_keep_days, settings.storage_keep_mb * 1024 * 1024},
      connection_(options_of(settings)),
      done_(done) {}

void Keeper::start() {
    if (retention_.keep_days != 0 || retention_.keep_bytes != 0) {
        running_ = true;
        thread_ = std::thread([this] { run(); });
    }
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
        while (!stopping_) {
            lock.unlock();
            round();
            lock.lock();
            stop_asked_.wait_for(lock, kPause, [this] { return stopping_; });
        }
    } catch (const std::exception& error) {
        log_error("the keeper failed").with("error", error.what());
    }
    running_ = false;
    done_->finished();
}

// Connected for the round only: it is short, and seldom.
void Keeper::round() {
    if (!connection_.connect() || !drop_old_logs(&connection_, retention_)) {
        log_warn("old logs are dropped later")
            .with("sqlstate", connection_.error().sqlstate)
            .with("error", connection_.error().message);
    }
    connection_.close();
}

}  // namespace sluice
