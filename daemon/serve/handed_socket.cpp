#include "daemon/serve/handed_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace sluice {
namespace {

constexpr int kFirstFd = 3;

std::string variable(const char* name) {
    const char* const value = getenv(name);
    return value != nullptr ? value : "";
}

}  // namespace

int handed_listen_socket() {
    // Meant for another process, whose environment this one has inherited?
    if (variable("LISTEN_PID") != std::to_string(getpid())) {
        return -1;
    }
    if (variable("LISTEN_FDS") != "1") {
        throw std::runtime_error("LISTEN_FDS: one socket is wanted");
    }
    int listens = 0;
    socklen_t bytes = sizeof listens;
    if (getsockopt(kFirstFd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) != 0 || listens == 0) {
        throw std::runtime_error("LISTEN_FDS: descriptor 3 is no socket that listens");
    }
    fcntl(kFirstFd, F_SETFD, FD_CLOEXEC);
    fcntl(kFirstFd, F_SETFL, fcntl(kFirstFd, F_GETFL) | O_NONBLOCK);
    return kFirstFd;
}

}  // namespace sluice
