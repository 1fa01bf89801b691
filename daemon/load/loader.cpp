#include "daemon/load/loader.hpp"

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/load/consumer.hpp"
#include "daemon/load/keeper.hpp"
#include "daemon/load/load_metrics.hpp"
#include "daemon/log.hpp"
#include "daemon/metrics_page.hpp"
#include "daemon/serve/http_server.hpp"
#include "daemon/serve/problems.hpp"

namespace sluice {
namespace {

// How long a stopping loader may take to finish its transactions and acknowledge.
constexpr int64_t kStopMs = 8000;

class Loader {
  public:
    Loader(const Settings& settings, StopSignals* signals);
    int run();

  private:
    bool all_stopped() const;
    bool wait_stopped();
    void start_listening();
    void answer(Exchange* exchange);

    const Settings& settings_;
    std::deque<Consumer> consumers_;
    Keeper keeper_;
    StopSignals* signals_;
    HttpServer metrics_;  // the last: what it tells of outlives it
};

Loader::Loader(const Settings& settings, StopSignals* signals)
    : settings_(settings),
      keeper_(settings, signals),
      signals_(signals),
      metrics_([this](Exchange* exchange) { answer(exchange); }) {
    for (int64_t number = 0; number < settings.load_consumers; ++number) {
        consumers_.emplace_back(settings, settings.load_name + "-" + std::to_string(number),
                                signals);
    }
}

bool Loader::all_stopped() const {
    return keeper_.stopped() &&
           std::all_of(consumers_.begin(), consumers_.end(),
                       [](const Consumer& consumer) { return consumer.stopped(); });
}

// False if it took too long, or somebody became impatient.
bool Loader::wait_stopped() {
    const int64_t deadline_us = steady_us() + kStopMs * 1000;
    while (!all_stopped()) {
        const int64_t left_ms = (deadline_us - steady_us()) / 1000;
        if (left_ms <= 0 || signals_->wait(left_ms) == StopSignals::Event::kSignal) {
            return false;
        }
    }
    return true;
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
    LoadFigures figures;
    for (Consumer& consumer : consumers_) {
        consumer.add_to(&figures);
    }
    HttpResponse response;
    response.content_type = kMetricsContentType;
    response.body = load_metrics(settings_.load_name, figures, keeper_.figures());
    exchange->answer(std::move(response));
}

int Loader::run() {
    start_listening();
    for (Consumer& consumer : consumers_) {
        consumer.start();
    }
    keeper_.start();
    if (signals_->wait(-1) == StopSignals::Event::kFinished) {
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
    metrics_.refuse();
    return 0;
}

}  // namespace

int run_loader(const Settings& settings, StopSignals* signals) {
    log_info("loader starts")
        .with("name", settings.load_name)
        .with("consumers", settings.load_consumers)
        .with("stream", settings.redis_stream)
        .with("group", settings.redis_group);
    return Loader(settings, signals).run();
}

}  // namespace sluice
