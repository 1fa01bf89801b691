#include "daemon/serve/tail.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/pulse.hpp"
#include "daemon/serve/problems.hpp"

namespace sluice {
namespace {

constexpr int64_t kSecondUs = 1000 * 1000;
constexpr int64_t kWaitMs = 200;  // for entries, while there is nothing else to do
constexpr int64_t kLookUs = kSecondUs;
constexpr int64_t kBeatUs = 10 * kSecondUs;
constexpr int64_t kConnectPauseUs = kSecondUs / 2;
constexpr int64_t kLogIntervalUs = 60 * kSecondUs;
// An edge sends a frame again within seconds.
constexpr size_t kFramesRemembered = 65536;
// In one turn, so that nobody waits for those who come back.
constexpr size_t kPlacesAtOnce = 32;
constexpr uint64_t kEntriesAtOnce = 32;
constexpr int kRetryAfterS = 10;
constexpr std::string_view kAnyDevice;

HttpResponse response_of(const TailClient& client) {
    HttpResponse response;
    response.content_type = "text/event-stream";
    response.stream = client.stream();
    return response;
}

}  // namespace

Tail::Tail(const Settings& settings)
    : clients_max_(static_cast<size_t>(settings.serve_tail_clients)),
      source_(settings),
      recent_(kFramesRemembered),
      log_limit_(kLogIntervalUs),
      thread_([this] { run(); }) {}

Tail::~Tail() {
    stop();
    thread_.join();
}

void Tail::submit(Exchange* exchange, const Query& query) {
    TailPlace place;
    const bool resumes = parse_tail_place(exchange->header("Last-Event-ID"), &place);
    auto client = std::make_unique<TailClient>(query, resumes ? &place : nullptr);
    HttpResponse response = response_of(*client);
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (stopping_) {
            // Not refused: a browser would not come back.
            client->stream()->end(true);
        } else if (clients_.size() + coming_.size() >= clients_max_) {
            ++figures_.refused;
            response =
                problem_response({503, "too_many_watchers", "As many watch the logs as may."});
            response.retry_after_s = kRetryAfterS;
        } else {
            // Somebody new is shown what comes behind his answer, so where that is has to be known
            // before it is given.
            const bool later = !live_ && !resumes;
            coming_.push_back({std::move(client), later ? exchange : nullptr});
            asked_.notify_one();
            if (later) {
                return;
            }
        }
    }
    exchange->answer(std::move(response));
}

void Tail::stop() {
    std::vector<Coming> coming;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
        coming.swap(coming_);
        for (const Client& client : clients_) {
            client->stream()->end(true);
        }
        asked_.notify_one();
    }
    for (const Coming& each : coming) {
        each.client->stream()->end(true);
        if (each.exchange != nullptr) {
            each.exchange->answer(response_of(*each.client));
        }
    }
}

void Tail::hang_up() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Client& client : clients_) {
        client->stream()->hang_up();
    }
}

TailFigures Tail::figures() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    TailFigures figures = figures_;
    figures.clients = clients_.size() + coming_.size();
    return figures;
}

void Tail::run() noexcept {
    pulse_as("tail");
    try {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!stopping_) {
            if (clients_.empty() && coming_.empty()) {
                live_ = false;
                reading_.end();
                lock.unlock();
                source_.close();
                lock.lock();
                pulse_rest();
                asked_.wait(lock, [this] { return stopping_ || !coming_.empty(); });
            }
            lock.unlock();
            pulse();
            turn();
            lock.lock();
        }
    } catch (const std::exception& error) {
        log_error("the tail stands still").with("error", error.what());
    }
    stopped_ = true;
}

void Tail::turn() {
    const bool read = reach_redis() && read_on() && ask_places() && lead_on();
    if (!read) {
        failed();
    }
    hand_over();
    if (steady_us() >= look_at_us_) {
        look_at_us_ = steady_us() + kLookUs;
        look_around();
    }
}

bool Tail::reach_redis() {
    if (source_.is_open()) {
        return true;
    }
    return steady_us() >= connect_at_us_ && source_.connect() && begin_reading();
}

// At the stream's end; or where it was, when Redis was away meanwhile.
bool Tail::begin_reading() {
    StreamEnds ends;
    if (!source_.find_ends(&ends)) {
        return false;
    }
    if (reading_.begun()) {
        looked(ends);
    } else {
        reading_.begin(ends);
        // Those who came when it was away.
        for (TailClient* client : those(TailClient::Pace::kLive)) {
            client->come_to(TailPlace::behind(reading_.to()));
        }
    }
    take_in(true);
    return true;
}

// Redis is away: who comes is let in, and sees what comes when it is back.
void Tail::failed() {
    uint64_t left_out = 0;
    if (steady_us() >= connect_at_us_) {
        if (log_limit_.allow(steady_us(), &left_out)) {
            log_warn("the tail cannot read the stream")
                .with("error", source_.error())
                .with("left_out", left_out);
        }
        source_.close();
        connect_at_us_ = steady_us() + kConnectPauseUs;
    }
    take_in(false);
    std::unique_lock<std::mutex> lock(mutex_);
    pulse_rest();
    asked_.wait_for(lock, std::chrono::milliseconds(kWaitMs), [this] { return stopping_; });
    pulse();
}

void Tail::take_in(bool reading) {
    std::vector<Coming> coming;
    std::vector<std::pair<Exchange*, HttpResponse>> answers;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        live_ = reading;
        coming.swap(coming_);
        for (Coming& each : coming) {
            TailClient& client = *each.client;
            const TailPlace here = TailPlace::behind(reading_.to());
            if (reading_.begun() &&
                (client.pace() == TailClient::Pace::kLive || client.place() == here)) {
                client.come_to(here);
                client.follow(TailClient::Pace::kLive, false);
            }
            if (each.exchange != nullptr) {
                answers.emplace_back(each.exchange, response_of(client));
            }
            if (stopping_) {
                client.stream()->end(true);
            }
            clients_.push_back(std::move(each.client));
        }
    }
    for (auto& [exchange, response] : answers) {
        exchange->answer(std::move(response));
    }
}

std::vector<TailClient*> Tail::those(TailClient::Pace pace) const {
    std::vector<TailClient*> found;
    for (const Client& client : clients_) {
        if (client->pace() == pace) {
            found.push_back(client.get());
        }
    }
    return found;
}

bool Tail::some_wait() const {
    return std::any_of(clients_.begin(), clients_.end(), [](const Client& client) {
        return client->pace() == TailClient::Pace::kAsking ||
               (client->pace() == TailClient::Pace::kBehind && client->has_room());
    });
}

// Until there is something else to do.
int64_t Tail::wait_ms() const {
    if (some_wait()) {
        return 0;
    }
    int64_t due_us = INT64_MAX;
    for (const Client& client : clients_) {
        due_us = std::min(due_us, client->hand_over_at_us());
    }
    const int64_t now_us = steady_us();
    return due_us >= now_us + kWaitMs * 1000 ? kWaitMs
                                             : std::max<int64_t>((due_us - now_us) / 1000, 1);
}

void Tail::hand_over() {
    const int64_t now_us = steady_us();
    for (const Client& client : clients_) {
        client->hand_over(now_us);
    }
}

bool Tail::read_on() {
    TailEntries entries;
    StreamEnds ends;
    if (!source_.read_behind(reading_.to(), wait_ms(), &entries) ||
        (!entries.entries.empty() && !source_.find_ends(&ends))) {
        return false;
    }
    // Also those who came while it waited.
    take_in(true);
    if (!entries.entries.empty()) {
        std::vector<TailClient*> live = those(TailClient::Pace::kLive);
        if (live != live_audience_.all()) {
            live_audience_ = TailAudience(std::move(live));
        }
        const TailLoss loss = reading_.went_on(entries.entries, ends);
        for (TailClient* client : live_audience_.all()) {
            // Others have come further, and not by this reading.
            if (loss != TailLoss::kNone && client->place().entry < entries.entries[0].id) {
                tell_gap(client, loss, client->place());
            }
        }
        show(entries, live_audience_);
        const int64_t now_ms = wall_us() / 1000;
        const std::lock_guard<std::mutex> lock(mutex_);
        for (const Entry& entry : entries.entries) {
            if (entry.error == FrameError::kNone) {
                const int64_t lag_ms = now_ms - entry.frame.receive_time_ms;
                figures_.lag_ms.seen(static_cast<uint64_t>(std::max<int64_t>(lag_ms, 0)),
                                     entry.frame.records);
            }
        }
    }
    return true;
}

void Tail::show(const TailEntries& entries, const TailAudience& audience) {
    for (const Entry& entry : entries.entries) {
        // What the loader does not store, or not twice, is not shown.
        if (entry.error == FrameError::kNone &&
            recent_.is_first(entry.frame.producer_id, entry.id)) {
            show_rows(entry, audience);
        }
        for (TailClient* client : audience.all()) {
            if (!client->stalled()) {
                client->come_to(TailPlace::behind(entry.id));
            }
        }
    }
}

// Each record is read once, and written once if anybody takes it.
void Tail::show_rows(const Entry& entry, const TailAudience& audience) {
    uint64_t events = 0;
    std::string_view rows = entry.frame.rows;
    for (uint64_t position = 0; !rows.empty(); ++position) {
        const size_t end = std::min(rows.find('\n'), rows.size() - 1);
        const TailPlace place{entry.id, position};
        const bool good = record_.read(rows.substr(0, end));
        rows.remove_prefix(end + 1);
        if (!good) {
            continue;
        }
        BodyStream::Piece event;
        for (const std::string_view device : {std::string_view(record_.device_id()), kAnyDevice}) {
            for (TailClient* client : audience.of(device)) {
                if (client->stalled() || !(client->place() < place) || !client->takes(record_)) {
                    continue;
                }
                if (event == nullptr) {
                    event = std::make_shared<const std::string>(
                        record_.event(place, entry.frame.receive_time_ms));
                }
                events += client->show(event, place) ? 1 : 0;
            }
        }
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    figures_.events += events;
}

bool Tail::ask_places() {
    std::vector<TailClient*> asking = those(TailClient::Pace::kAsking);
    if (asking.empty()) {
        return true;
    }
    asking.resize(std::min(asking.size(), kPlacesAtOnce));
    StreamEnds ends;
    if (!source_.find_ends(&ends)) {
        return false;
    }
    looked(ends);
    return std::all_of(asking.begin(), asking.end(),
                       [&](TailClient* client) { return ask_place(client, ends.last); });
}

bool Tail::ask_place(TailClient* client, const StreamId& end) {
    using Pace = TailClient::Pace;
    const StreamId entry = client->place().entry;
    if (end < entry) {
        tell_gap(client, TailLoss::kStateLost, TailPlace::behind(end));
    }
    if (!(client->place() < TailPlace::behind(reading_.to()))) {
        // All that is behind him is still to be read, and what is missed of it will be noticed.
        client->follow(Pace::kLive, false);
        return true;
    }
    TailEntries found;
    StreamEnds ends;
    if (!source_.read_range(to_string(entry), to_string(entry), 1, &found) ||
        (found.entries.empty() && !source_.find_ends(&ends))) {
        return false;
    }
    if (found.entries.empty()) {
        tell_gap(client, reading_.why_gone(entry, ends), client->place());
    }
    client->follow(Pace::kBehind, !found.entries.empty());
    return true;
}

void Tail::tell_gap(TailClient* client, TailLoss loss, const TailPlace& go_on_behind) {
    client->gap(loss == TailLoss::kStateLost ? "state_lost" : "window_passed", go_on_behind);
    const std::lock_guard<std::mutex> lock(mutex_);
    ++figures_.gaps;
}

// A piece of the stream for who is furthest behind, and for all who are within it. Begins with the
// entry where he is, which shows that nothing was trimmed behind him.
bool Tail::lead_on() {
    std::vector<TailClient*> behind = those(TailClient::Pace::kBehind);
    behind.erase(std::remove_if(behind.begin(), behind.end(),
                                [](TailClient* client) { return !client->has_room(); }),
                 behind.end());
    if (behind.empty()) {
        return true;
    }
    TailClient* const last =
        *std::min_element(behind.begin(), behind.end(),
                          [](TailClient* a, TailClient* b) { return a->place() < b->place(); });
    const StreamId from = last->place().entry;
    TailEntries piece;
    if (!source_.read_range(to_string(from), to_string(reading_.to()), kEntriesAtOnce, &piece)) {
        return false;
    }
    const bool is_rest = piece.entries.size() < kEntriesAtOnce;
    const StreamId first = piece.entries.empty() ? kStreamIdMax : piece.entries[0].id;
    const StreamId to = is_rest ? std::max(reading_.to(), from) : piece.entries.back().id;
    for (TailClient* client : behind) {
        if ((client->holds_on() && client->place().entry < first) ||
            reading_.to() < client->place().entry) {
            client->ask_again();
        }
        client->try_again();
    }
    behind.erase(std::remove_if(behind.begin(), behind.end(),
                                [&](TailClient* client) {
                                    return client->pace() != TailClient::Pace::kBehind ||
                                           to < client->place().entry;
                                }),
                 behind.end());
    show(piece, TailAudience(behind));
    for (TailClient* client : behind) {
        if (!client->stalled()) {
            client->come_to(TailPlace::behind(to));
        }
        const bool is_live = is_rest && !client->stalled();
        // Who found no room may be where he was, which need not be there.
        const bool holds_on = client->holds_on() || !(client->place().entry < first);
        client->follow(is_live ? TailClient::Pace::kLive : TailClient::Pace::kBehind, holds_on);
    }
    return true;
}

void Tail::looked(const StreamEnds& ends) {
    const TailLoss loss = reading_.looked(ends);
    if (loss != TailLoss::kNone) {
        for (TailClient* client : those(TailClient::Pace::kLive)) {
            tell_gap(client, loss, TailPlace::behind(ends.last));
        }
    }
}

// Once a second: who has left, what is to be told, and what has become of the stream.
void Tail::look_around() {
    StreamEnds ends;
    if (reading_.begun() && source_.is_open() && source_.find_ends(&ends)) {
        looked(ends);
    }
    const bool beat = steady_us() >= beat_at_us_;
    if (beat) {
        beat_at_us_ = steady_us() + kBeatUs;
    }
    uint64_t dropped = 0;
    for (const Client& client : clients_) {
        client->tell_missed();
        if (beat) {
            client->beat();
        }
        dropped += client->take_dropped();
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    figures_.dropped += dropped;
    const auto gone = std::remove_if(clients_.begin(), clients_.end(), [](const Client& client) {
        if (!client->stream()->reader_has_gone()) {
            return false;
        }
        client->stream()->end(false);
        return true;
    });
    if (gone != clients_.end()) {
        live_audience_ = TailAudience();
        clients_.erase(gone, clients_.end());
    }
}

}  // namespace sluice
