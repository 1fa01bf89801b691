#include "daemon/notify.hpp"

#include <sys/time.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "daemon/clock.hpp"
#include "daemon/log.hpp"

namespace sluice {
namespace {

// A manager that does not read for so long is not waited for.
constexpr int64_t kSendS = 1;

// What the manager will have the watchdog do is meant for one process, and not for its children.
int64_t watchdog_of_environment() noexcept {
    const char* pid = getenv("WATCHDOG_PID");
    const char* usec = getenv("WATCHDOG_USEC");
    int64_t number = 0;
    if (usec == nullptr || (pid != nullptr && pid != std::to_string(getpid()))) {
        return 0;
    }
    const char* const end = usec + strlen(usec);
    const auto parsed = std::from_chars(usec, end, number);
    return parsed.ec == std::errc() && parsed.ptr == end && number > 0 ? number : 0;
}

}  // namespace

Notifier::Notifier() {
    const char* name = getenv("NOTIFY_SOCKET");
    if (name == nullptr || *name == '\0') {
        return;
    }
    const size_t bytes = strlen(name);
    if ((*name != '/' && *name != '@') || bytes >= sizeof address_.sun_path) {
        log_warn("the service manager is told nothing: NOTIFY_SOCKET is no path of a unix socket");
        return;
    }
    address_.sun_family = AF_UNIX;
    memcpy(address_.sun_path, name, bytes);
    if (*name == '@') {
        address_.sun_path[0] = '\0';  // in the abstract namespace, where the length is the name's
    }
    address_bytes_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + bytes);
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    timeval longest{};
    longest.tv_sec = kSendS;
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
    watchdog_us_ = watchdog_of_environment();
}

Notifier::~Notifier() {
    if (fd_ >= 0) {
        close(fd_);
    }
}

bool Notifier::reloading() {
    return tell("RELOADING=1\nMONOTONIC_USEC=", std::to_string(steady_us()));
}

bool Notifier::tell(std::string_view what, std::string_view status) {
    if (fd_ < 0) {
        return true;
    }
    std::string datagram(what);
    datagram.append(status);
    return sendto(fd_, datagram.data(), datagram.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address_), address_bytes_) >= 0;
}

}  // namespace sluice
