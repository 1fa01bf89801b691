// What the main thread of a daemon does while others work: it waits for signals, reads the settings
// anew, tells the service manager how things are, and feeds its watchdog as long as no thread
// hangs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/log.hpp"
#include "daemon/notify.hpp"
#include "daemon/process.hpp"
#include "daemon/settings.hpp"

namespace sluice {

class Service {
  public:
    using ReadSettings = std::function<Settings()>;

    // What the service is about.
    struct Work {
        std::function<bool()> ready;          // asked until it is
        std::function<std::string()> status;  // a line for an operator
        std::function<void(const Settings&)> apply;
    };

    // Reads the settings for the first time: throws SettingsError. The process reads only these
    // sections.
    Service(ReadSettings read, std::vector<std::string> sections);

    [[nodiscard]] const Settings& settings() const noexcept { return settings_; }
    [[nodiscard]] Signals* signals() noexcept { return &signals_; }

    // Until a signal to stop (true), or until the work has ended by itself.
    [[nodiscard]] bool run(const Work& work);

  private:
    void look(const Work& work, int64_t now_us);
    void feed_watchdog(int64_t now_us);
    void reload(const Work& work);

    Signals signals_;  // the first, so that no signal is missed
    ReadSettings read_;
    std::vector<std::string> sections_;
    Settings settings_;
    Notifier notifier_;
    bool ready_ = false;
    std::string told_;
    LogLimit still_limit_;
};

}  // namespace sluice
