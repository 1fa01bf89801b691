#include "daemon/service.hpp"

#include <algorithm>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/pulse.hpp"
#include "daemon/settings_reload.hpp"

namespace sluice {
namespace {

constexpr int64_t kLookMs = 1000;
constexpr int64_t kStillLogUs = 60LL * 1000 * 1000;

// Names that settings have been checked for.
void log_as_set(const Settings& settings) {
    LogLevel level{};
    LogFormat format{};
    if (parse_log_level(settings.log_level, &level) &&
        parse_log_format(settings.log_format, &format)) {
        set_log(level, format);
    }
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) {
        text.append(text.empty() ? "" : ", ").append(name);
    }
    return text;
}

}  // namespace

Service::Service(ReadSettings read, std::vector<std::string> sections)
    : read_(std::move(read)),
      sections_(std::move(sections)),
      settings_(read_()),
      still_limit_(kStillLogUs) {
    log_as_set(settings_);
}

bool Service::run(const Work& work) {
    // Four times in the time that the manager gives it.
    const int64_t watchdog_ms = notifier_.watchdog_us() / 4000;
    const int64_t look_ms = watchdog_ms > 0 ? std::min(watchdog_ms, kLookMs) : kLookMs;
    for (;;) {
        look(work, steady_us());
        switch (signals_.wait(look_ms)) {
            case Signals::Event::kStop:
                notifier_.stopping();
                return true;
            case Signals::Event::kFinished:
                return false;
            case Signals::Event::kReload:
                reload(work);
                break;
            case Signals::Event::kTimeout:
                break;
        }
    }
}

void Service::look(const Work& work, int64_t now_us) {
    std::string status = work.status();
    if (!ready_ && work.ready()) {
        ready_ = notifier_.ready(status);
    } else if (status != told_ && notifier_.status(status)) {
        told_ = std::move(status);
    }
    feed_watchdog(now_us);
}

// Not if a thread hangs: then the manager is to end this process, and start another.
void Service::feed_watchdog(int64_t now_us) {
    if (notifier_.watchdog_us() == 0) {
        return;
    }
    const std::string hung = thread_standing_still(now_us - notifier_.watchdog_us() / 2);
    if (hung.empty()) {
        notifier_.alive();
        return;
    }
    uint64_t left_out = 0;
    if (still_limit_.allow(now_us, &left_out)) {
        log_error("a thread hangs: the watchdog is not fed").with("thread", hung);
    }
}

void Service::reload(const Work& work) {
    notifier_.reloading();
    try {
        const SettingsChange change = take_live(read_(), sections_, &settings_);
        log_as_set(settings_);
        work.apply(settings_);
        log_info("settings are read anew")
            .with("changed", change.taken.empty() ? "nothing" : joined(change.taken));
        if (!change.need_restart.empty()) {
            log_warn("changed settings need a restart")
                .with("settings", joined(change.need_restart));
        }
    } catch (const SettingsError& error) {
        log_error("settings are wrong: those from before stay").with("error", error.what());
    }
    ready_ = false;  // is told again, as soon as it is
}

}  // namespace sluice
