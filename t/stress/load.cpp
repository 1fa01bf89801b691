#include "t/stress/load.hpp"

#include <algorithm>
#include <csignal>
#include <memory>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/commands/progress.hpp"
#include "t/stress/client.hpp"
#include "t/stress/transfers.hpp"

namespace sluice::stress {
namespace {

constexpr int kWaitMsMax = 100;

volatile std::sig_atomic_t interrupted = 0;

// Ctrl-C ends the load; once more, or later, it ends the process.
void heed_interrupt(bool heed) {
    struct sigaction action {};
    action.sa_handler = heed ? [](int) { interrupted = 1; } : SIG_DFL;
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGINT, &action, nullptr);
}

// One request at a time, over a connection that is kept.
struct Sender {
    Request request;
    std::string body;
    std::string answer;
    Take take = [this](std::string_view bytes) { answer.append(bytes); };
    int times_sent = 0;
    int64_t due_us = 0;
    Handle handle;
};

// libcurl has a connection, and begins to send.
int on_send(void* sender, char*, char*, int, int) {
    ++static_cast<Sender*>(sender)->times_sent;
    return CURL_PREREQFUNC_OK;
}

class Load {
  public:
    Load(const Options& options, const Records& records, Outcomes* outcomes)
        : options_(options),
          records_(records),
          outcomes_(outcomes),
          plan_(options),
          headers_(header_list({"Content-Type: application/json", "Expect:",
                                options.gzip ? "Content-Encoding: gzip" : "", options.header})),
          progress_("records sent", options.seconds != 0 ? 0 : options.devices * options.records),
          transfers_(options.connections) {
        const std::string url = options.url + (options.batch == 0 ? "/api/log" : "/api/logs/batch");
        for (uint64_t i = 0; i < options.connections; ++i) {
            auto sender = std::make_unique<Sender>();
            sender->handle = make_handle(url, headers_.get(), &sender->take);
            curl_easy_setopt(sender->handle.get(), CURLOPT_POST, 1L);
            curl_easy_setopt(sender->handle.get(), CURLOPT_PRIVATE, sender.get());
            curl_easy_setopt(sender->handle.get(), CURLOPT_PREREQFUNCTION, &on_send);
            curl_easy_setopt(sender->handle.get(), CURLOPT_PREREQDATA, sender.get());
            idle_.push_back(sender.get());
            senders_.push_back(std::move(sender));
        }
    }

    LoadFigures run() {
        heed_interrupt(true);
        began_us_ = steady_us();
        while (!ended() || idle_.size() < senders_.size()) {
            start_due();
            transfers_.work(wait_ms());
            CURLcode result = CURLE_OK;
            while (CURL* handle = transfers_.ended(&result)) {
                finish(handle, result);
            }
        }
        figures_.seconds = static_cast<double>(steady_us() - began_us_) / 1e6;
        heed_interrupt(false);
        return std::move(figures_);
    }

  private:
    [[nodiscard]] bool ended() const {
        return plan_.done() || interrupted != 0 ||
               (options_.seconds != 0 &&
                steady_us() - began_us_ >= static_cast<int64_t>(options_.seconds) * 1000000);
    }

    // When the next request is to begin, if there is a rate to keep.
    [[nodiscard]] int64_t due_us() const {
        return options_.rate == 0
                   ? steady_us()
                   : began_us_ + static_cast<int64_t>(static_cast<double>(plan_.planned()) * 1e6 /
                                                      static_cast<double>(options_.rate));
    }

    [[nodiscard]] int wait_ms() const {
        if (ended() || idle_.empty()) {
            return kWaitMsMax;
        }
        return static_cast<int>(
            std::clamp<int64_t>((due_us() - steady_us()) / 1000, 0, kWaitMsMax));
    }

    void start_due() {
        while (!idle_.empty() && !ended()) {
            const int64_t due = due_us();
            if (due > steady_us()) {
                return;
            }
            Sender* sender = idle_.back();
            idle_.pop_back();
            start(sender, due);
        }
    }

    void start(Sender* sender, int64_t due) {
        sender->request = plan_.next();
        sender->body.clear();
        records_.append_body(sender->request, options_.batch != 0, &sender->body);
        if (options_.gzip) {
            sender->body = gzipped(sender->body);
        }
        sender->answer.clear();
        sender->times_sent = 0;
        // Without a rate, when it is made is before its time.
        sender->due_us = options_.rate == 0 ? steady_us() : due;
        CURL* handle = sender->handle.get();
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, sender->body.data());
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                         static_cast<curl_off_t>(sender->body.size()));
        transfers_.begin(handle);
    }

    void finish(CURL* handle, CURLcode result) {
        void* found = nullptr;
        curl_easy_getinfo(handle, CURLINFO_PRIVATE, &found);
        auto* sender = static_cast<Sender*>(found);
        long status = 0;
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
        if (result != CURLE_OK) {
            status = 0;
            sender->answer = curl_easy_strerror(result);
        }
        // Who is refused is told so at once: that would flatter.
        if (status == kTaken) {
            figures_.latency.seen(static_cast<uint64_t>(steady_us() - sender->due_us));
        }
        outcomes_->ended(sender->request, {static_cast<int>(status), sender->answer,
                                           sender->times_sent > 0, sender->times_sent > 1});
        idle_.push_back(sender);
        done_ += sender->request.count;
        progress_.at(done_);
    }

    const Options& options_;
    const Records& records_;
    Outcomes* outcomes_;
    Plan plan_;
    HeaderList headers_;
    Progress progress_;
    std::vector<std::unique_ptr<Sender>> senders_;
    Transfers transfers_;  // of senders
    std::vector<Sender*> idle_;
    LoadFigures figures_;
    int64_t began_us_ = 0;
    uint64_t done_ = 0;
};

}  // namespace

LoadFigures run_load(const Options& options, const Records& records, Outcomes* outcomes) {
    return Load(options, records, outcomes).run();
}

}  // namespace sluice::stress
