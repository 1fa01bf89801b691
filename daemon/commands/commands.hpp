// The commands of sluiced, each in a file of its own.
#pragma once

#include <string>
#include <vector>

#include "daemon/commands/arguments.hpp"
#include "daemon/settings.hpp"

namespace sluice {

inline constexpr int kExitGood = 0;
inline constexpr int kExitFailed = 1;  // or something was found
inline constexpr int kExitUsage = 2;   // also settings that cannot be read

struct Command {
    const char* name;
    const char* summary;  // a line of sluiced --help
    const char* help;     // what sluiced NAME --help prints
    // Besides --config, which all of them take.
    std::vector<Option> options;
    bool takes_words;
    int (*run)(const Arguments& arguments);
};

[[nodiscard]] const Command& load_command();
[[nodiscard]] const Command& serve_command();
[[nodiscard]] const Command& migrate_command();
[[nodiscard]] const Command& check_command();
[[nodiscard]] const Command& status_command();
[[nodiscard]] const Command& dead_letters_command();
[[nodiscard]] const Command& import_command();

// Throws SettingsError.
[[nodiscard]] Settings settings_of(const Arguments& arguments);

}  // namespace sluice
