#include "daemon/settings_reload.hpp"

#include <algorithm>

#include "daemon/settings_table.hpp"

namespace sluice {

SettingsChange take_live(const Settings& now, const std::vector<std::string>& sections,
                         Settings* settings) {
    SettingsChange change;
    for (const Setting& setting : all_settings()) {
        if (std::find(sections.begin(), sections.end(), setting.section) == sections.end()) {
            continue;
        }
        std::visit(
            [&](auto field) {
                if (now.*field == settings->*field) {
                    return;
                }
                if (setting.live) {
                    settings->*field = now.*field;
                    change.taken.push_back(file_name_of(setting));
                } else {
                    change.need_restart.push_back(file_name_of(setting));
                }
            },
            setting.field);
    }
    return change;
}

}  // namespace sluice
