#include "daemon/serve/listen_socket.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace sluice {
namespace {

constexpr int kListenBacklog = 511;
constexpr int kSocketFlags = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

[[noreturn]] void refuse(const std::string& listen, const std::string& why) {
    throw std::runtime_error("cannot listen on " + listen + ": " + why);
}

[[noreturn]] void refuse_errno(const std::string& listen, int fd) {
    const std::string why = strerror(errno);
    if (fd >= 0) {
        close(fd);
    }
    refuse(listen, why);
}

sockaddr_un address_of(const std::string& path) noexcept {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.data(), path.size());
    return address;
}

bool somebody_listens(const std::string& path) {
    const sockaddr_un address = address_of(path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool connected =
        connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    return connected;
}

// Made beside the one that a dead process left, then put in its place: whoever connects meanwhile
// finds one of them. A name of the same length, as that is limited.
int open_unix(const std::string& listen, const std::string& path) {
    if (path.empty() || path.size() >= sizeof sockaddr_un{}.sun_path) {
        refuse(listen, "a socket's path has 1 to 107 bytes");
    }
    if (somebody_listens(path)) {
        refuse(listen, "another one listens there");
    }
    std::string made = path;
    made.back() = made.back() == '~' ? '-' : '~';
    const sockaddr_un address = address_of(made);
    unlink(made.c_str());
    const int fd = socket(AF_UNIX, kSocketFlags, 0);
    if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        // For this user and its group alone, or the folder's, if that hands its group on (g+s):
        // what nginx keeps from a client nobody else gets here.
        chmod(made.c_str(), 0660) != 0 || ::listen(fd, kListenBacklog) != 0 ||
        rename(made.c_str(), path.c_str()) != 0) {
        refuse_errno(listen, fd);
    }
    return fd;
}

int open_tcp(const std::string& listen) {
    const size_t colon = listen.rfind(':');
    if (colon == std::string::npos || colon == 0) {
        refuse(listen, "unix:/path or host:port is wanted");
    }
    std::string host = listen.substr(0, colon);
    if (host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    addrinfo* found = nullptr;
    const int failed = getaddrinfo(host.c_str(), listen.c_str() + colon + 1, &hints, &found);
    if (failed != 0) {
        refuse(listen, gai_strerror(failed));
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> address(found, &freeaddrinfo);
    const int fd = socket(address->ai_family, kSocketFlags, 0);
    const int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || ::listen(fd, kListenBacklog) != 0) {
        refuse_errno(listen, fd);
    }
    return fd;
}

}  // namespace

int open_listen_socket(const std::string& listen) {
    static const std::string kUnixPrefix = "unix:";
    return listen.compare(0, kUnixPrefix.size(), kUnixPrefix) == 0
               ? open_unix(listen, listen.substr(kUnixPrefix.size()))
               : open_tcp(listen);
}

}  // namespace sluice
