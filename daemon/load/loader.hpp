// sluiced load: as many consumers of the group as are configured, until a signal.
#pragma once

#include "daemon/service.hpp"

namespace sluice {

// Runs until a signal; returns the process' exit code.
[[nodiscard]] int run_loader(Service* service);

}  // namespace sluice
