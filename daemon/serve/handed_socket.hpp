// A listening socket that a service manager made, holds, and hands over at the start, as
// sd_listen_fds(3) describes: whoever connects while the process is restarted waits in it.
#pragma once

namespace sluice {

// -1 if there is none. Others will have it next, so it must not be shut down. Throws
// std::runtime_error if it is not what is wanted.
[[nodiscard]] int handed_listen_socket();

}  // namespace sluice
