// The live tail: one thread reads the stream, and shows each record to all who watch and asked for
// it. Who comes back is led through what the stream still has behind the place where he was, a
// piece at a time, together with all others on their way, until he is where everybody is.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/query.hpp"
#include "daemon/log.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/recent_frames.hpp"
#include "daemon/serve/server_metrics.hpp"
#include "daemon/serve/tail_audience.hpp"
#include "daemon/serve/tail_client.hpp"
#include "daemon/serve/tail_reading.hpp"
#include "daemon/serve/tail_source.hpp"
#include "daemon/settings.hpp"

namespace sluice {

class Tail {
  public:
    explicit Tail(const Settings& settings);
    ~Tail();
    Tail(const Tail&) = delete;
    Tail& operator=(const Tail&) = delete;

    // Answers it, now or soon, with a body that goes on until one of both leaves.
    void submit(Exchange* exchange, const Query& query);

    // All bodies end at once, whole: who watches comes back, to the next server. It may go on to
    // wait for a Redis that hangs, until it has stopped.
    void stop();
    // Of those who do not take what is left.
    void hang_up();
    [[nodiscard]] bool stopped() const noexcept { return stopped_.load(); }

    // From any thread.
    [[nodiscard]] TailFigures figures() const;

  private:
    using Client = std::unique_ptr<TailClient>;
    // exchange: not answered yet.
    struct Coming {
        Client client;
        Exchange* exchange = nullptr;
    };

    void run() noexcept;
    void turn();
    bool reach_redis();
    bool begin_reading();
    bool read_on();
    void failed();
    void take_in(bool reading);
    void show(const TailEntries& entries, const TailAudience& audience);
    void show_rows(const Entry& entry, const TailAudience& audience);
    [[nodiscard]] int64_t wait_ms() const;
    void hand_over();
    [[nodiscard]] std::vector<TailClient*> those(TailClient::Pace pace) const;
    [[nodiscard]] bool some_wait() const;
    bool ask_places();
    bool ask_place(TailClient* client, const StreamId& end);
    void tell_gap(TailClient* client, TailLoss loss, const TailPlace& go_on_behind);
    void looked(const StreamEnds& ends);
    bool lead_on();
    void look_around();

    const size_t clients_max_;
    TailSource source_;
    RecentFrames recent_;
    TailRecord record_;
    LogLimit log_limit_;
    TailReading reading_;  // of what is live
    TailAudience live_audience_;
    int64_t connect_at_us_ = 0;
    int64_t look_at_us_ = 0;
    int64_t beat_at_us_ = 0;

    mutable std::mutex mutex_;  // of what follows
    std::condition_variable asked_;
    std::vector<Client> clients_;  // changed by the thread alone
    std::vector<Coming> coming_;
    bool live_ = false;  // it reads, so whoever comes now is shown what comes from now on
    bool stopping_ = false;
    TailFigures figures_;

    std::atomic<bool> stopped_{false};
    std::thread thread_;
};

}  // namespace sluice
