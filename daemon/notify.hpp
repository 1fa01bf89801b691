// Tells the service manager how this process is: the datagrams of sd_notify(3), to the socket that
// $NOTIFY_SOCKET names. Where it names none nothing is told.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

class Notifier {
  public:
    // Reads the environment.
    Notifier();
    ~Notifier();
    Notifier(const Notifier&) = delete;
    Notifier& operator=(const Notifier&) = delete;

    // True if it was told, or nobody wants to know.
    bool ready(std::string_view status) { return tell("READY=1\nSTATUS=", status); }
    bool status(std::string_view status) { return tell("STATUS=", status); }
    bool reloading();
    bool stopping() { return tell("STOPPING=1\nSTATUS=", "stopping"); }
    bool alive() { return tell("WATCHDOG=1", ""); }

    // How long the manager waits for alive() before it takes the process to be hung; 0: for ever.
    [[nodiscard]] int64_t watchdog_us() const noexcept { return watchdog_us_; }

  private:
    bool tell(std::string_view what, std::string_view status);

    int fd_ = -1;
    sockaddr_un address_{};
    socklen_t address_bytes_ = 0;
    int64_t watchdog_us_ = 0;
};

}  // namespace sluice
