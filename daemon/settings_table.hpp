// What settings there are, and what each may be. Their defaults are those of Settings.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "daemon/settings.hpp"

namespace sluice {

using SettingField = std::variant<std::string Settings::*, int64_t Settings::*,
                                  std::vector<std::string> Settings::*>;

struct Setting {
    const char* section;
    const char* key;
    SettingField field;
    const char* what;   // the unit of a number, or what a text is
    int64_t least = 0;  // of a number, or of the bytes of a text
    int64_t most = 0;   // 0: a text that is one of a few words, of which judge knows
    // What is wrong with a text that is as long as it may be; empty if it is right. It must not
    // hold the text, which can be a password.
    std::string (*judge)(const std::string& text) = nullptr;
    // A running process takes a change over when it is sent SIGHUP.
    bool live = false;
};

[[nodiscard]] const std::vector<Setting>& all_settings();

// load.batch_rows
[[nodiscard]] std::string file_name_of(const Setting& setting);

// SLUICED_LOAD_BATCH_ROWS
[[nodiscard]] std::string environment_name_of(const Setting& setting);

// "a whole number of rows, 1 to 1000000": in messages, and in conf/sluiced.toml.
[[nodiscard]] std::string rule_of(const Setting& setting);

// As it would stand in a file.
[[nodiscard]] std::string default_of(const Setting& setting);

}  // namespace sluice
