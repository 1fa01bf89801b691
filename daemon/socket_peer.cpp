#include "daemon/socket_peer.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace sluice {
namespace {

constexpr uint8_t kLoopbackNet = 127;

bool is_loopback(const in6_addr& address) noexcept {
    return IN6_IS_ADDR_LOOPBACK(&address) ||
           (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == kLoopbackNet);
}

}  // namespace

bool peer_is_local(int fd) noexcept {
    sockaddr_storage peer{};
    socklen_t bytes = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &bytes) != 0) {
        return false;
    }
    switch (peer.ss_family) {
        case AF_UNIX:
            return true;
        case AF_INET:
            return ntohl(reinterpret_cast<const sockaddr_in&>(peer).sin_addr.s_addr) >> 24 ==
                   kLoopbackNet;
        case AF_INET6:
            return is_loopback(reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr);
        default:
            return false;
    }
}

}  // namespace sluice
