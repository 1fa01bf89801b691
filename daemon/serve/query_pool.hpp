// A few threads that answer queries, each with a connection of its own that can only read. What
// waits for them is bounded: beyond that a query is refused at once. Those who ask what waits
// already wait for the same answer. While records wait to be stored one query runs at a time, so
// that Postgres has time for them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/query.hpp"
#include "daemon/log.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/server_metrics.hpp"
#include "daemon/serve/settled.hpp"
#include "daemon/settings.hpp"

namespace sluice {

class QueryPool {
  public:
    QueryPool(const Settings& settings, const SettledHorizon* horizon);
    ~QueryPool();
    QueryPool(const QueryPool&) = delete;
    QueryPool& operator=(const QueryPool&) = delete;

    // Answers the exchange sooner or later, whatever happens.
    void submit(Exchange* exchange, const Query& query);

    [[nodiscard]] QueryFigures figures() const;

    // While it runs: from the next query of each thread on.
    void apply(const Settings& settings);

  private:
    struct Job {
        std::vector<Exchange*> askers;
        std::string target;  // canonical
        Query query;
        int64_t timeout_ms = 0;

        [[nodiscard]] bool all_gone() const noexcept;
        void answer(HttpResponse response) const;  // to all
    };

    void work();
    [[nodiscard]] bool enqueue(Exchange* exchange, const Query& query);
    void drop_gone();
    bool next_job(Job* job);
    [[nodiscard]] HttpResponse run(PgConnection* connection, const Job& job) noexcept;
    [[nodiscard]] bool ask(PgConnection* connection, const Job& job, HttpResponse* response) const;
    [[nodiscard]] HttpResponse try_run(PgConnection* connection, const Job& job);
    [[nodiscard]] bool connect(PgConnection* connection, const Job& job);
    void count(QueryEnd end, int64_t took_us = 0);
    void job_done(bool had_connection, bool has_connection);
    void log_failure(const PgError& error);

    PgOptions options_;
    const SettledHorizon* horizon_;
    std::atomic<int64_t> down_until_us_{0};

    mutable std::mutex mutex_;  // of what follows
    size_t queue_max_;
    int64_t query_timeout_ms_;
    QueryFigures figures_;
    std::condition_variable changed_;
    std::deque<Job> queue_;
    LogLimit log_limit_{1000 * 1000};
    bool stopping_ = false;

    std::vector<std::thread> threads_;
};

}  // namespace sluice
