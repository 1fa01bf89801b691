#include "daemon/serve/query_pool.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/pulse.hpp"
#include "daemon/serve/hits.hpp"
#include "daemon/serve/page.hpp"
#include "daemon/serve/problems.hpp"
#include "daemon/serve/reader.hpp"
#include "daemon/serve/stats.hpp"

namespace sluice {
namespace {

// For so long after a failed attempt nobody tries again: queries are refused at once, and a
// Postgres that comes back is not met by all of them.
constexpr int64_t kDownUs = 1000 * 1000;

}  // namespace

QueryPool::QueryPool(const Settings& settings, const SettledHorizon* horizon)
    : options_(reader_options(settings)),
      horizon_(horizon),
      queue_max_(static_cast<size_t>(settings.serve_queue)),
      query_timeout_ms_(settings.serve_query_timeout_ms) {
    for (int64_t i = 0; i < settings.serve_workers; ++i) {
        threads_.emplace_back([this] { work(); });
    }
}

QueryPool::~QueryPool() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void QueryPool::apply(const Settings& settings) {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_max_ = static_cast<size_t>(settings.serve_queue);
    query_timeout_ms_ = settings.serve_query_timeout_ms;
}

bool QueryPool::Job::all_gone() const noexcept {
    return std::all_of(askers.begin(), askers.end(),
                       [](const Exchange* asker) { return asker->client_has_gone(); });
}

void QueryPool::Job::answer(HttpResponse response) const {
    const auto shared = std::make_shared<const HttpResponse>(std::move(response));
    for (Exchange* asker : askers) {
        asker->answer(shared);
    }
}

void QueryPool::submit(Exchange* exchange, const Query& query) {
    if (!enqueue(exchange, query)) {
        exchange->answer(unavailable("too_many_queries", "More queries than can wait."));
    }
}

bool QueryPool::enqueue(Exchange* exchange, const Query& query) {
    char target[kQueryTargetBytesMax];
    const std::string_view asked(target, static_cast<size_t>(write_query(query, target) - target));
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) {
        return false;
    }
    const auto same = std::find_if(queue_.begin(), queue_.end(),
                                   [asked](const Job& job) { return job.target == asked; });
    if (same != queue_.end()) {
        same->askers.push_back(exchange);
        return true;
    }
    if (queue_.size() >= queue_max_) {
        drop_gone();
        if (queue_.size() >= queue_max_) {
            return false;
        }
    }
    queue_.push_back({{exchange}, std::string(asked), query});
    changed_.notify_one();
    return true;
}

// Who has gone while waiting keeps nobody out.
void QueryPool::drop_gone() {
    const auto gone = std::stable_partition(queue_.begin(), queue_.end(),
                                            [](const Job& job) { return !job.all_gone(); });
    for (auto job = gone; job != queue_.end(); ++job) {
        job->answer(nobody_is_there());
    }
    queue_.erase(gone, queue_.end());
}

bool QueryPool::next_job(Job* job) {
    std::unique_lock<std::mutex> lock(mutex_);
    pulse_rest();
    changed_.wait(lock, [this] {
        return stopping_ || (!queue_.empty() && (figures_.running == 0 || !horizon_->is_behind()));
    });
    pulse();
    if (queue_.empty()) {
        return false;
    }
    *job = std::move(queue_.front());
    queue_.pop_front();
    job->timeout_ms = query_timeout_ms_;
    ++figures_.running;
    if (!queue_.empty()) {
        // It may have come when it had to wait for this one; now it may not have to.
        changed_.notify_one();
    }
    return true;
}

void QueryPool::work() {
    pulse_as("query");
    PgConnection connection(options_);
    for (Job job{}; next_job(&job);) {
        const bool had_connection = connection.is_open();
        connection.set_timeout(job.timeout_ms);
        // For several it is worked until the timeout: it is for whoever stays.
        connection.work_for(job.askers.size() == 1 ? job.askers.front()->client_fd() : -1);
        HttpResponse response = run(&connection, job);
        connection.work_for(-1);
        job_done(had_connection, connection.is_open());
        job.answer(std::move(response));
    }
}

void QueryPool::job_done(bool had_connection, bool has_connection) {
    const std::lock_guard<std::mutex> lock(mutex_);
    --figures_.running;
    figures_.connections += has_connection ? 1 : 0;
    figures_.connections -= had_connection ? 1 : 0;
}

void QueryPool::count(QueryEnd end, int64_t took_us) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++figures_.ends[static_cast<size_t>(end)];
    if (end != QueryEnd::kUnreachable) {
        figures_.times_us.seen(static_cast<uint64_t>(took_us));
    }
}

QueryFigures QueryPool::figures() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    QueryFigures figures = figures_;
    figures.waiting = queue_.size();
    figures.gives_way = horizon_->is_behind() ? 1 : 0;
    return figures;
}

HttpResponse QueryPool::run(PgConnection* connection, const Job& job) noexcept {
    try {
        return try_run(connection, job);
    } catch (const std::exception& error) {
        log_error("a query failed").with("error", error.what());
        return database_unavailable();
    }
}

bool QueryPool::ask(PgConnection* connection, const Job& job, HttpResponse* response) const {
    const int64_t now_us = wall_us();
    switch (job.query.kind) {
        case QueryKind::kLogs:
            return answer_page(
                connection, job.query,
                {now_us, horizon_->settled_us(), steady_us() + job.timeout_ms * 1000 / 2},
                response);
        case QueryKind::kStats:
            return answer_stats(connection, response);
        case QueryKind::kHits:
            return answer_hits(connection, job.query, now_us, response);
        case QueryKind::kTail:
            break;  // not asked of Postgres
    }
    return false;
}

HttpResponse QueryPool::try_run(PgConnection* connection, const Job& job) {
    // Twice, since a connection that rested may have been closed by then; reading twice is no harm.
    for (int attempt = 0; attempt < 2; ++attempt) {
        if (job.all_gone()) {
            return nobody_is_there();
        }
        const bool rested = connection->is_open();
        if (!rested && !connect(connection, job)) {
            count(QueryEnd::kUnreachable);
            return database_unavailable();
        }
        HttpResponse response;
        const int64_t began_at_us = steady_us();
        const bool answered = ask(connection, job, &response);
        const bool gone = !answered && job.all_gone();
        const bool too_slow = !answered && connection->error().sqlstate == kQueryCancelled;
        count(answered   ? QueryEnd::kDone
              : gone     ? QueryEnd::kGone
              : too_slow ? QueryEnd::kTimeout
                         : QueryEnd::kFailed,
              steady_us() - began_at_us);
        if (answered) {
            return response;
        }
        if (gone) {
            return nobody_is_there();
        }
        log_failure(connection->error());
        if (too_slow) {
            return query_timeout();
        }
        if (!rested || connection->is_open()) {
            break;
        }
    }
    return database_unavailable();
}

bool QueryPool::connect(PgConnection* connection, const Job& job) {
    if (steady_us() < down_until_us_.load()) {
        return false;
    }
    if (connection->connect()) {
        return true;
    }
    if (!job.all_gone()) {
        down_until_us_.store(steady_us() + kDownUs);
        log_failure(connection->error());
    }
    return false;
}

void QueryPool::log_failure(const PgError& error) {
    uint64_t left_out = 0;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (log_limit_.allow(steady_us(), &left_out)) {
        log_warn("postgres did not answer a query")
            .with("sqlstate", error.sqlstate)
            .with("error", error.told())
            .with("left_out", left_out);
    }
}

}  // namespace sluice
