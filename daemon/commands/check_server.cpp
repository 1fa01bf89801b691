// sluiced check: the server that answers queries.
#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "daemon/commands/check.hpp"

namespace sluice {
namespace {

constexpr time_t kTimeoutS = 3;
constexpr const char* kUnixPrefix = "unix:";

class Socket {
  public:
    explicit Socket(int family) : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const timeval timeout = {kTimeoutS, 0};
        setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
        setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    }
    ~Socket() { close(fd_); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    bool connect(const sockaddr* address, socklen_t bytes) const {
        return ::connect(fd_, address, bytes) == 0;
    }
    // Whether it answers as the server does; else *why.
    bool is_live(std::string* why) const {
        static constexpr char kRequest[] = "GET /health/live HTTP/1.0\r\nHost: sluiced\r\n\r\n";
        char answer[16] = {};
        if (send(fd_, kRequest, sizeof kRequest - 1, MSG_NOSIGNAL) < 0 ||
            recv(fd_, answer, sizeof answer - 1, MSG_WAITALL) < 0) {
            *why = strerror(errno);
            return false;
        }
        if (strstr(answer, " 200") == nullptr) {
            *why = "whatever listens there is not sluiced serve";
            return false;
        }
        return true;
    }

  private:
    int fd_;
};

bool ask_unix(const std::string& path, std::string* why) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const Socket socket(AF_UNIX);
    if (!socket.connect(reinterpret_cast<const sockaddr*>(&address), sizeof address)) {
        *why = strerror(errno);
        return false;
    }
    return socket.is_live(why);
}

bool ask_tcp(const std::string& listen, std::string* why) {
    const size_t colon = listen.rfind(':');
    if (colon == std::string::npos) {
        *why = "unix:/path or host:port is wanted";
        return false;
    }
    std::string host = listen.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int failed = getaddrinfo(host.c_str(), listen.c_str() + colon + 1, &hints, &found);
    if (failed != 0) {
        *why = gai_strerror(failed);
        return false;
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> address(found, &freeaddrinfo);
    const Socket socket(address->ai_family);
    if (!socket.connect(address->ai_addr, address->ai_addrlen)) {
        *why = strerror(errno);
        return false;
    }
    return socket.is_live(why);
}

}  // namespace

void check_server(const Settings& settings, Findings* findings) {
    const std::string& listen = settings.serve_listen;
    const size_t prefix = strlen(kUnixPrefix);
    std::string why;
    if (listen.compare(0, prefix, kUnixPrefix) == 0 ? ask_unix(listen.substr(prefix), &why)
                                                    : ask_tcp(listen, &why)) {
        findings->push_back({Verdict::kOk, "server", "server: it answers at " + listen, ""});
    } else {
        findings->push_back({Verdict::kWarn, "server",
                             "server: none answers at " + listen + ": " + why,
                             "start it: sluiced serve; logs are taken in and stored without it"});
    }
}

}  // namespace sluice
