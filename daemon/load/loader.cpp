#include "daemon/load/loader.hpp"

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/load/consumer.hpp"
#include "daemon/load/keeper.hpp"
#include "daemon/load/last_seen.hpp"
#include "daemon/load/load_metrics.hpp"
#include "daemon/log.hpp"
#include "daemon/metrics_page.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/problems.hpp"

namespace sluice {
namespace {

class Loader {
  public:
    explicit Loader(Service* service);
    int run();

  private:
    void apply(const Settings& settings);
    bool has_asked();
    LoadFigures figures();
    std::string status();
    bool consumers_stopped() const;
    bool wait_stopped();
    void start_listening();
    void answer(Exchange* exchange);

    Service* service_;
    const Settings& settings_;
    LastSeen last_seen_;
    std::deque<Consumer> consumers_;
    Keeper keeper_;
    HttpServer metrics_;  // the last: what it tells of outlives it
};

Loader::Loader(Service* service)
    : service_(service),
      settings_(service->settings()),
      last_seen_(settings_, service->signals()),
      keeper_(settings_, service->signals()),
      metrics_([this](Exchange* exchange) { answer(exchange); }) {
    for (int64_t number = 0; number < settings_.load_consumers; ++number) {
        consumers_.emplace_back(settings_, settings_.load_name + "-" + std::to_string(number),
                                &last_seen_, service->signals());
    }
}

void Loader::apply(const Settings& settings) {
    for (Consumer& consumer : consumers_) {
        consumer.apply(settings);
    }
    keeper_.apply(settings);
}

// A store that is away is waited for; that is no reason not to be ready.
bool Loader::has_asked() {
    return std::all_of(consumers_.begin(), consumers_.end(),
                       [](Consumer& consumer) { return consumer.has_asked(); });
}

LoadFigures Loader::figures() {
    LoadFigures figures;
    for (Consumer& consumer : consumers_) {
        consumer.add_to(&figures);
    }
    figures.last_seen_left_out = last_seen_.left_out();
    return figures;
}

std::string Loader::status() {
    const LoadFigures now = figures();
    std::string text = now.backlog_known ? std::to_string(now.backlog.records) + " records wait, "
                                         : std::string("what waits is not known, ");
    text.append(std::to_string(now.counts.rows_stored)).append(" stored");
    if (now.redis_connections < now.consumers) {
        text.append("; redis is away");
    }
    if (now.postgres_up < now.consumers) {
        text.append("; postgres is away");
    }
    return text;
}

bool Loader::consumers_stopped() const {
    return std::all_of(consumers_.begin(), consumers_.end(),
                       [](const Consumer& consumer) { return consumer.stopped(); });
}

// False if it took too long, or somebody became impatient.
bool Loader::wait_stopped() {
    const int64_t deadline_us = steady_us() + kStopMs * 1000;
    for (;;) {
        if (consumers_stopped()) {
            last_seen_.stop();  // there will be no more devices
            if (keeper_.stopped() && last_seen_.stopped()) {
                return true;
            }
        }
        const int64_t left_ms = (deadline_us - steady_us()) / 1000;
        if (left_ms <= 0 || service_->signals()->wait_stopping(left_ms) == Signals::Event::kStop) {
            return false;
        }
    }
}

// Nothing that only tells may keep records from being stored.
void Loader::start_listening() {
    try {
        if (!settings_.load_listen.empty()) {
            metrics_.start(settings_.load_listen);
        }
    } catch (const std::runtime_error& error) {
        log_error("there will be no metrics")
            .with("setting", "load.listen")
            .with("error", error.what());
    }
}

void Loader::answer(Exchange* exchange) {
    if (exchange->path() != "/metrics") {
        exchange->answer(problem_response({404, "not_found", "Nothing is here."}));
        return;
    }
    HttpResponse response;
    response.content_type = kMetricsContentType;
    response.body = load_metrics(settings_.load_name, figures(), keeper_.figures());
    exchange->answer(std::move(response));
}

int Loader::run() {
    start_listening();
    for (Consumer& consumer : consumers_) {
        consumer.start();
    }
    keeper_.start();
    last_seen_.start();
    if (!service_->run({[this] { return has_asked(); }, [this] { return status(); },
                        [this](const Settings& settings) { apply(settings); }})) {
        // Only by a failure does a consumer end before it is told to. Whoever runs this process
        // starts it again.
        _exit(1);
    }
    log_info("stopping: what was read is stored first");
    for (Consumer& consumer : consumers_) {
        consumer.stop();
    }
    keeper_.stop();
    if (!wait_stopped()) {
        // Nothing is lost: what was not acknowledged is read again.
        log_warn("stopped without waiting any longer");
        _exit(1);
    }
    for (Consumer& consumer : consumers_) {
        consumer.join();
    }
    keeper_.join();
    last_seen_.join();
    metrics_.refuse();
    return 0;
}

}  // namespace

int run_loader(Service* service) {
    const Settings& settings = service->settings();
    log_info("loader starts")
        .with("name", settings.load_name)
        .with("consumers", settings.load_consumers)
        .with("stream", settings.redis_stream)
        .with("group", settings.redis_group);
    return Loader(service).run();
}

}  // namespace sluice
