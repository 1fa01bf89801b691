// Keeps the table devices up to date: a thread of its own, with a connection of its own, so that
// last-seen times never hold up a batch. They are a few seconds behind, and are no promise: what a
// crash takes away is known again when the device sends again.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "daemon/load/device_set.hpp"
#include "daemon/log.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/process.hpp"
#include "daemon/settings.hpp"

namespace sluice {

class LastSeen {
  public:
    // done is told when it has stopped.
    LastSeen(const Settings& settings, Signals* done);

    // From any thread: the devices of a batch that is stored. Leaves the set empty.
    void take(DeviceSet* devices);

    void start();
    // Stores what it has been given first, if Postgres is there.
    void stop();
    [[nodiscard]] bool stopped() const noexcept { return !running_; }
    // Once it has stopped.
    void join();
    // Rows whose device had no room. From any thread.
    [[nodiscard]] uint64_t left_out() const noexcept { return left_out_; }

  private:
    void run() noexcept;
    void flush();

    std::mutex mutex_;
    DeviceSet taken_;  // since the last flush
    bool stopping_ = false;
    std::condition_variable stop_asked_;

    DeviceSet storing_;  // only the thread's; what could not be stored stays in it
    PgConnection connection_;
    LogLimit later_limit_;
    std::atomic<uint64_t> left_out_{0};
    std::thread thread_;
    std::atomic<bool> running_{false};
    Signals* done_;
};

}  // namespace sluice
