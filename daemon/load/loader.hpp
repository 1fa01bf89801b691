// sluiced load: the core between its two shells, a thread for each lane.
#pragma once

#include "daemon/process.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// Runs until a signal; returns the process' exit code.
[[nodiscard]] int run_loader(const Settings& settings, StopSignals* signals);

}  // namespace sluice
