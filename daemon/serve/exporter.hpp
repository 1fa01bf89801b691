// Files of all the logs that a query asks for. Read in parts, each a query of its own, and sent
// while the next one is read: neither memory nor a transaction grows with the file. A few at a
// time, each with a thread and a connection that can only read.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
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

class Export;

class Exporter {
  public:
    Exporter(const Settings& settings, const SettledHorizon* horizon);
    ~Exporter();
    Exporter(const Exporter&) = delete;
    Exporter& operator=(const Exporter&) = delete;

    // Answers the exchange sooner or later, whatever happens.
    void submit(Exchange* exchange, const Query& query);
    // What is under way ends as it is, for its reader to see that it is not whole.
    void cut_off();

    [[nodiscard]] ExportFigures figures() const;

    // While it runs: for the exports to come.
    void apply(const Settings& settings);

  private:
    struct Job {
        Exchange* exchange = nullptr;
        Query query;
        int64_t timeout_ms = 0;
    };

    void work();
    bool next_job(Job* job);
    void run(PgConnection* connection, const Job& job);
    void over(ExportEnd end, uint64_t rows);
    [[nodiscard]] ExportEnd send(PgConnection* connection, const Job& job, Export* made,
                                 BodyStream* stream) const;
    [[nodiscard]] bool read(PgConnection* connection, const Job& job, Export* made,
                            std::string* part) const;
    void give_way(int64_t took_us) const;
    void log_failure(const PgError& error);

    PgOptions options_;
    const SettledHorizon* horizon_;
    std::atomic<bool> cut_off_{false};

    mutable std::mutex mutex_;  // of what follows
    std::condition_variable changed_;
    std::deque<Job> jobs_;
    int64_t query_timeout_ms_;
    size_t idle_;  // or about to be
    ExportFigures figures_;
    LogLimit log_limit_{1000 * 1000};
    bool stopping_ = false;

    std::vector<std::thread> threads_;
};

}  // namespace sluice
