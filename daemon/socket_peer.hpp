// Who is at the other end of a socket.
#pragma once

namespace sluice {

// Whether what is sent stays on this machine: by a Unix socket, or the loopback.
[[nodiscard]] bool peer_is_local(int fd) noexcept;

}  // namespace sluice
