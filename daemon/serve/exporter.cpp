#include "daemon/serve/exporter.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/pulse.hpp"
#include "daemon/serve/export.hpp"
#include "daemon/serve/page.hpp"
#include "daemon/serve/problems.hpp"
#include "daemon/serve/reader.hpp"

namespace sluice {
namespace {

// What is read ahead of the client.
constexpr size_t kAheadBytes = 4 << 20;
constexpr int64_t kLookMs = 200;
// A client that takes nothing for so long holds up others for nothing.
constexpr int64_t kStalledMs = 60000;
constexpr int64_t kGiveWayMaxUs = 5 * 1000 * 1000;
// nginx waits 15 s for the next byte. What is searched for without anything found is told by a byte
// that means nothing in front of a row.
constexpr const char* kStillAtIt = " ";
constexpr int kRetryAfterS = 5;
constexpr int kTriesMax = 2;

}  // namespace

Exporter::Exporter(const Settings& settings, const SettledHorizon* horizon)
    : options_(reader_options(settings)),
      horizon_(horizon),
      query_timeout_ms_(settings.serve_query_timeout_ms),
      idle_(static_cast<size_t>(settings.serve_exports)) {
    for (int64_t i = 0; i < settings.serve_exports; ++i) {
        threads_.emplace_back([this] { work(); });
    }
}

Exporter::~Exporter() {
    cut_off();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void Exporter::cut_off() {
    cut_off_ = true;
}

void Exporter::apply(const Settings& settings) {
    const std::lock_guard<std::mutex> lock(mutex_);
    query_timeout_ms_ = settings.serve_query_timeout_ms;
}

void Exporter::submit(Exchange* exchange, const Query& query) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (jobs_.size() < idle_) {
            jobs_.push_back({exchange, query, query_timeout_ms_});
            exchange = nullptr;
        } else {
            ++figures_.ends[static_cast<size_t>(ExportEnd::kRefused)];
        }
    }
    if (exchange == nullptr) {
        changed_.notify_one();
    } else {
        exchange->answer(
            unavailable("too_many_exports", "As many exports run as may.", kRetryAfterS));
    }
}

ExportFigures Exporter::figures() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    ExportFigures figures = figures_;
    figures.running = threads_.size() - idle_;
    return figures;
}

bool Exporter::next_job(Job* job) {
    std::unique_lock<std::mutex> lock(mutex_);
    pulse_rest();
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    pulse();
    if (jobs_.empty()) {
        return false;
    }
    --idle_;
    *job = std::move(jobs_.front());
    jobs_.pop_front();
    return true;
}

void Exporter::work() {
    pulse_as("export");
    for (Job job; next_job(&job);) {
        // Of its own: exports are rare.
        PgConnection connection(options_);
        connection.set_timeout(job.timeout_ms);
        connection.work_for(job.exchange->client_fd());
        run(&connection, job);
    }
}

// Before the client is told: who has the whole of a file may ask for the next one at once.
void Exporter::over(ExportEnd end, uint64_t rows) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++figures_.ends[static_cast<size_t>(end)];
    figures_.rows += rows;
    ++idle_;
}

// The first part is read before there is an answer, so that what is wrong can still be one.
void Exporter::run(PgConnection* connection, const Job& job) {
    Export made(job.query);
    std::string part;
    if (!read(connection, job, &made, &part)) {
        HttpResponse response;
        if (job.exchange->client_has_gone()) {
            over(ExportEnd::kClientGone, 0);
            job.exchange->answer(nobody_is_there());
            return;
        }
        if (!is_bad_query(job.query, connection->error(), &response)) {
            log_failure(connection->error());
            response = connection->error().sqlstate == kQueryCancelled ? query_timeout()
                                                                       : database_unavailable();
        }
        over(ExportEnd::kFailed, 0);
        job.exchange->answer(std::move(response));
        return;
    }
    const auto stream = std::make_shared<BodyStream>(kAheadBytes);
    static_cast<void>(stream->write(std::make_shared<const std::string>(std::move(part))));
    HttpResponse response;
    response.content_type = made.content_type();
    response.file_name = made.file_name();
    response.stream = stream;
    job.exchange->answer(std::move(response));
    const ExportEnd end = send(connection, job, &made, stream.get());
    if (end == ExportEnd::kFailed) {
        log_failure(connection->error());
    }
    over(end, made.rows());
    if (end == ExportEnd::kCutOff) {
        stream->hang_up();
    } else {
        stream->end(end == ExportEnd::kDone);
    }
}

ExportEnd Exporter::send(PgConnection* connection, const Job& job, Export* made,
                         BodyStream* stream) const {
    while (!made->is_whole()) {
        const int64_t began_at_us = steady_us();
        std::string part;
        if (!read(connection, job, made, &part)) {
            return stream->reader_has_gone() ? ExportEnd::kClientGone : ExportEnd::kFailed;
        }
        if (part.empty()) {
            part = kStillAtIt;
        }
        give_way(steady_us() - began_at_us);
        const auto piece = std::make_shared<const std::string>(std::move(part));
        for (int64_t waited_ms = 0; !stream->write(piece, kLookMs); waited_ms += kLookMs) {
            pulse();
            if (cut_off_ || waited_ms >= kStalledMs) {
                return ExportEnd::kCutOff;
            }
        }
        pulse();
        if (stream->reader_has_gone()) {
            return ExportEnd::kClientGone;
        }
        if (cut_off_) {
            return ExportEnd::kCutOff;
        }
    }
    return ExportEnd::kDone;
}

// A part that ended before its last row has closed the connection. What was too slow may be quick
// enough once it is in memory.
bool Exporter::read(PgConnection* connection, const Job& job, Export* made,
                    std::string* part) const {
    for (int tries = 0; tries < kTriesMax; ++tries) {
        if ((connection->is_open() || connection->connect()) &&
            made->read(connection, horizon_->settled_us(), job.timeout_ms, part)) {
            return true;
        }
        if (connection->error().sqlstate != kQueryCancelled) {
            return false;
        }
    }
    return false;
}

// As long again as it has worked, while records wait to be stored.
void Exporter::give_way(int64_t took_us) const {
    if (horizon_->is_behind()) {
        std::this_thread::sleep_for(std::chrono::microseconds(std::min(took_us, kGiveWayMaxUs)));
    }
}

void Exporter::log_failure(const PgError& error) {
    uint64_t left_out = 0;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (log_limit_.allow(steady_us(), &left_out)) {
        log_warn("postgres did not answer an export")
            .with("sqlstate", error.sqlstate)
            .with("error", error.told())
            .with("left_out", left_out);
    }
}

}  // namespace sluice
