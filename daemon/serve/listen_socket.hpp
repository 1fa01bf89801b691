// A socket to listen on, from a setting.
#pragma once

#include <string>

namespace sluice {

// "unix:/path" or "host:port" ("[::1]:80" for IPv6). A unix socket that nobody listens on any more
// is replaced, so its file may be left behind. Throws std::runtime_error with what is wrong.
[[nodiscard]] int open_listen_socket(const std::string& listen);

}  // namespace sluice
