// sluiced serve: which path is answered by what.
#pragma once

#include "daemon/process.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// Runs until a signal; returns the process' exit code.
[[nodiscard]] int run_server(const Settings& settings, StopSignals* signals);

}  // namespace sluice
