// The service manager's end of what a daemon tells it.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "t/unit/cmocka.hpp"

namespace sluice::test {

class Manager {
  public:
    // name: a path, or behind '@' one in the abstract namespace.
    explicit Manager(const std::string& name = "/tmp/notify_test." + std::to_string(getpid()))
        : name_(name), fd_(socket(AF_UNIX, SOCK_DGRAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path, name.data(), name.size());
        if (name[0] == '@') {
            address.sun_path[0] = '\0';
        }
        unlink(name.c_str());
        const size_t bytes = offsetof(sockaddr_un, sun_path) + name.size();
        assert_int_equal(
            bind(fd_, reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(bytes)),
            0);
        setenv("NOTIFY_SOCKET", name.c_str(), 1);
    }
    ~Manager() {
        unsetenv("NOTIFY_SOCKET");
        close(fd_);
        unlink(name_.c_str());
    }
    Manager(const Manager&) = delete;
    Manager& operator=(const Manager&) = delete;

    // The next datagram; "nothing" if none comes in this time.
    [[nodiscard]] std::string heard(int wait_ms = 0) const {
        pollfd waiting = {fd_, POLLIN, 0};
        if (poll(&waiting, 1, wait_ms) != 1) {
            return "nothing";
        }
        char datagram[4096];
        const ssize_t bytes = recv(fd_, datagram, sizeof datagram, 0);
        return {datagram, static_cast<size_t>(bytes)};
    }

  private:
    std::string name_;
    int fd_;
};

}  // namespace sluice::test
