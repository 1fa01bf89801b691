// sluiced load: as many consumers of the group as are configured, until a signal.
#pragma once

#include "daemon/process.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// Runs until a signal; returns the process' exit code.
[[nodiscard]] int run_loader(const Settings& settings, StopSignals* signals);

}  // namespace sluice
