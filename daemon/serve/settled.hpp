// The settled horizon: the time before which every record that will ever come has been stored. It
// is older than anything that is still in the stream, or on its way there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "common/timestamp.hpp"
#include "daemon/log.hpp"
#include "daemon/redis_connection.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// Asks Redis several times a second, on a thread of its own. While Redis is away the horizon stands
// still.
class SettledHorizon {
  public:
    explicit SettledHorizon(const Settings& settings);
    ~SettledHorizon();
    SettledHorizon(const SettledHorizon&) = delete;
    SettledHorizon& operator=(const SettledHorizon&) = delete;

    // It may go on to wait for a Redis that hangs, until it has stopped.
    void stop();
    [[nodiscard]] bool stopped() const noexcept { return stopped_.load(); }

    // kTimestampMinUs until Redis has answered once.
    [[nodiscard]] int64_t settled_us() const noexcept { return settled_us_.load(); }

    // Whether a record had waited longer than any does where the loader keeps up, when Redis last
    // answered.
    [[nodiscard]] bool is_behind() const noexcept { return behind_ms_.load() > kBehindMs; }

  private:
    static constexpr int64_t kBehindMs = 400;

    void run() noexcept;
    void look();

    RedisConnection connection_;
    std::string stream_;
    std::string group_;
    LogLimit log_limit_;
    std::atomic<int64_t> settled_us_{kTimestampMinUs};
    std::atomic<int64_t> behind_ms_{0};
    std::atomic<bool> stopped_{false};

    std::mutex mutex_;  // of what follows
    std::condition_variable stop_asked_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace sluice
