#include "daemon/load/last_seen.hpp"

#include <chrono>
#include <exception>

#include "daemon/clock.hpp"
#include "daemon/pg_devices.hpp"
#include "daemon/pulse.hpp"

namespace sluice {
namespace {

constexpr std::chrono::seconds kPause(5);
constexpr int64_t kTimeoutMs = 2000;
constexpr int64_t kWarnIntervalUs = 60LL * 1000 * 1000;

PgOptions options_of(const Settings& settings) {
    PgOptions options;
    options.login = pg_login_of(settings, PgUser::kLoader);
    options.application_name = "sluiced-devices";
    options.session = "SET TimeZone = 'UTC'";
    options.timeout_ms = kTimeoutMs;
    return options;
}

}  // namespace

LastSeen::LastSeen(const Settings& settings, Signals* done)
    : connection_(options_of(settings)), later_limit_(kWarnIntervalUs), done_(done) {}

void LastSeen::take(DeviceSet* devices) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (taken_.empty()) {
        std::swap(taken_, *devices);
    } else {
        taken_.add(*devices);
    }
    devices->clear();
}

void LastSeen::start() {
    running_ = true;
    thread_ = std::thread([this] { run(); });
}

void LastSeen::stop() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    stop_asked_.notify_all();
}

void LastSeen::join() {
    if (thread_.joinable()) {
        thread_.join();
    }
}

void LastSeen::run() noexcept {
    pulse_as("last-seen");
    try {
        std::unique_lock<std::mutex> lock(mutex_);
        bool last = false;
        while (!last) {
            pulse_rest();
            last = stop_asked_.wait_for(lock, kPause, [this] { return stopping_; });
            pulse();
            storing_.add(taken_);
            taken_.clear();
            lock.unlock();
            flush();
            lock.lock();
        }
    } catch (const std::exception& error) {
        log_error("keeping last-seen times failed").with("error", error.what());
    }
    running_ = false;
    done_->finished();
}

// Connected for this only: it is short, and there may be nothing to do for long.
void LastSeen::flush() {
    // That Postgres is away is what the consumers say.
    if (storing_.empty() || !connection_.connect()) {
        return;
    }
    const bool stored = store_last_seen(&connection_, storing_);
    uint64_t left_out = 0;
    if (!stored && later_limit_.allow(steady_us(), &left_out)) {
        log_warn("last-seen times of devices are stored later")
            .with("sqlstate", connection_.error().sqlstate)
            .with("error", connection_.error().told())
            .with("left_out", left_out);
    }
    // What would be refused again must not keep all others from being stored.
    if (stored || connection_.error().failure == PgFailure::kBadData) {
        left_out_ += storing_.left_out();
        storing_.clear();
    }
    connection_.close();
}

}  // namespace sluice
