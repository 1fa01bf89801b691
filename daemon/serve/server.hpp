// sluiced serve: which path is answered by what.
#pragma once

#include "daemon/service.hpp"

namespace sluice {

// Runs until a signal; returns the process' exit code.
[[nodiscard]] int run_server(Service* service);

}  // namespace sluice
