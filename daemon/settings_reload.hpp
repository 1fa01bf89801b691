// What becomes of settings that have changed while the process runs.
#pragma once

#include <string>
#include <vector>

#include "daemon/settings.hpp"

namespace sluice {

struct SettingsChange {
    std::vector<std::string> taken;  // names as in the file
    std::vector<std::string> need_restart;
};

// Takes over from now what can be changed in a running process. Settings of other sections than
// these are no concern of this process.
[[nodiscard]] SettingsChange take_live(const Settings& now,
                                       const std::vector<std::string>& sections,
                                       Settings* settings);

}  // namespace sluice
