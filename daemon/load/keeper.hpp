// Keeps the tables within what is set for them, and an eye on what the promises need of Postgres
// and Redis: a thread of its own, with connections of its own, so that nothing it waits for holds
// up a consumer.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "daemon/load/load_metrics.hpp"
#include "daemon/load/redis_watch.hpp"
#include "daemon/log.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/pg_retention.hpp"
#include "daemon/process.hpp"
#include "daemon/settings.hpp"

namespace sluice {

class Keeper {
  public:
    // done is told when it has stopped.
    Keeper(const Settings& settings, Signals* done);

    // Runs a round now and then.
    void start();
    void stop();
    // While it runs: with a round at once.
    void apply(const Settings& settings);
    [[nodiscard]] bool stopped() const noexcept { return !running_; }
    // Once it has stopped.
    void join();
    // Of the last look. From any thread.
    [[nodiscard]] KeeperFigures figures() const;

  private:
    [[nodiscard]] bool stopping() const noexcept { return stopping_; }
    void run() noexcept;
    void round(const Retention& retention);
    void look_at_redis();
    void look_at_postgres();
    void tell(const PgDurability& durability);

    RedisWatch redis_;
    PgConnection connection_;
    LogLimit later_limit_;
    LogLimit off_limit_;
    PgDurability required_;
    std::string off_;  // of what is required, when it was last looked
    std::thread thread_;
    // Of retention_, applied_ and figures_, and so that asked_ is not missed.
    mutable std::mutex mutex_;
    Retention retention_;
    bool applied_ = false;  // since the last round began
    KeeperFigures figures_;
    std::condition_variable asked_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> running_{false};
    Signals* done_;
};

}  // namespace sluice
