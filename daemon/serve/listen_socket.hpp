// A socket to listen on, from a setting.
#pragma once

#include <string>

namespace sluice {

struct ListenSocket {
    int fd = -1;
    std::string path;  // of a unix socket: to be removed in the end
};

// "unix:/path" or "host:port" ("[::1]:80" for IPv6). A unix socket that nobody listens on any more
// is replaced. Throws std::runtime_error with what is wrong.
[[nodiscard]] ListenSocket open_listen_socket(const std::string& listen);

}  // namespace sluice
