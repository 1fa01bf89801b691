// One consumer of the group: the core between its two shells, each driven by a thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "daemon/load/core.hpp"
#include "daemon/load/last_seen.hpp"
#include "daemon/load/load_metrics.hpp"
#include "daemon/load/reporter.hpp"
#include "daemon/pg_store.hpp"
#include "daemon/process.hpp"
#include "daemon/redis_stream.hpp"
#include "daemon/settings.hpp"

namespace sluice {

class Consumer {
  public:
    // done is told when the consumer has stopped, or cannot go on.
    Consumer(const Settings& settings, const std::string& name, LastSeen* last_seen, Signals* done);

    void start();
    // Reads no more; ends when what was read is stored, or cannot be.
    void stop();

    // While it runs, from any thread: of what has changed, what can be.
    void apply(const Settings& settings);
    // Both Redis and Postgres, successfully or not.
    [[nodiscard]] bool has_asked();

    [[nodiscard]] bool stopped() const noexcept { return lanes_running_ == 0; }
    // For a reason that must not exist. The other lane may wait for ever: do not join().
    [[nodiscard]] bool failed() const noexcept { return failed_; }
    // Once it has stopped.
    void join();
    // From any thread. What is counted is under the lock that each step takes anyway.
    void add_to(LoadFigures* figures);

  private:
    using Lane = void (Consumer::*)();
    void run_lane(Lane lane, const char* lane_name) noexcept;
    void redis_lane();
    void pg_lane();
    void wait(std::unique_lock<std::mutex>* lock, int64_t wait_us);

    const std::string name_;
    std::mutex mutex_;  // of core_, reporter_ and moves_
    std::condition_variable moved_;
    LoaderCore core_;
    LoadReporter reporter_;
    uint64_t moves_ = 0;  // answers given to the core, and the wish to stop

    RedisStream redis_;  // only the Redis lane's
    PgStore store_;      // only the Postgres lane's
    std::thread redis_thread_;
    std::thread pg_thread_;
    std::atomic<int> lanes_running_{2};
    std::atomic<bool> failed_{false};
    LastSeen* last_seen_;
    Signals* done_;
};

}  // namespace sluice
