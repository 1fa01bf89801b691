#include "daemon/settings.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>

#include <toml++/toml.h>

#include "daemon/nearest.hpp"
#include "daemon/settings_table.hpp"

namespace sluice {
namespace {

using Names = std::vector<std::string>;

constexpr std::string_view kEnvironmentPrefix = "SLUICED_";
constexpr const char* kEnvironmentPlace = "environment: ";

std::string place_of(std::string_view file_name, const toml::source_region& source) {
    return std::string(file_name) + ":" + std::to_string(source.begin.line) + ": ";
}

// A value of a setting: where it stands, and under which name.
struct Given {
    const Setting& setting;
    std::string place;
    std::string name;
};

[[noreturn]] void refuse(const Given& given, const std::string& what_is_wrong) {
    throw SettingsError(given.place + given.name + " " + what_is_wrong + ": it must be " +
                        rule_of(given.setting) + " (default " + default_of(given.setting) + ")");
}

[[noreturn]] void refuse_unknown(const std::string& place, const std::string& name,
                                 std::string (*name_of)(const Setting&)) {
    std::vector<std::string> names;
    for (const Setting& setting : all_settings()) {
        names.push_back(name_of(setting));
    }
    throw SettingsError(place + "unknown setting " + name + ": did you mean " +
                        nearest(name, names) + "?");
}

const Setting* find_setting(const std::string& name, std::string (*name_of)(const Setting&)) {
    const auto found =
        std::find_if(all_settings().begin(), all_settings().end(),
                     [&](const Setting& setting) { return name_of(setting) == name; });
    return found == all_settings().end() ? nullptr : &*found;
}

void set_number(const Given& given, int64_t value, int64_t* field) {
    if (value < given.setting.least || value > given.setting.most) {
        refuse(given, "is " + std::to_string(value));
    }
    *field = value;
}

// Texts are not repeated in messages: they can hold passwords.
void check_text(const Given& given, const std::string& text) {
    const auto bytes = static_cast<int64_t>(text.size());
    if (given.setting.most != 0 && (bytes < given.setting.least || bytes > given.setting.most)) {
        refuse(given, text.empty() ? "is empty" : "has " + std::to_string(bytes) + " bytes");
    }
    if (text.find('\0') != std::string::npos) {
        refuse(given, "has a byte that is 0");
    }
    if (given.setting.judge != nullptr) {
        const std::string wrong = given.setting.judge(text);
        if (!wrong.empty()) {
            refuse(given, "is not right (" + wrong + ")");
        }
    }
}

void set_text(const Given& given, std::string text, std::string* field) {
    check_text(given, text);
    *field = std::move(text);
}

void set_names(const Given& given, Names names, Names* field) {
    for (const std::string& name : names) {
        check_text(given, name);
    }
    *field = std::move(names);
}

std::string type_of(const toml::node& node) {
    std::ostringstream type;
    type << node.type();
    return type.str();
}

Names names_of(const Given& given, const toml::node& node) {
    if (!node.is_array()) {
        refuse(given, "is no array, [\"...\", \"...\"], but of type " + type_of(node));
    }
    Names names;
    for (const toml::node& element : *node.as_array()) {
        if (!element.is_string()) {
            refuse(given, "has an element of type " + type_of(element));
        }
        names.push_back(**element.as_string());
    }
    return names;
}

void set_from_toml(const Given& given, const toml::node& node, Settings* settings) {
    const SettingField& field = given.setting.field;
    if (const auto* text = std::get_if<std::string Settings::*>(&field)) {
        if (!node.is_string()) {
            refuse(given, "is no text in quotes, but of type " + type_of(node));
        }
        set_text(given, **node.as_string(), &(settings->**text));
    } else if (const auto* number = std::get_if<int64_t Settings::*>(&field)) {
        if (!node.is_integer()) {
            refuse(given, "is no whole number, but of type " + type_of(node));
        }
        set_number(given, **node.as_integer(), &(settings->**number));
    } else {
        set_names(given, names_of(given, node), &(settings->*std::get<Names Settings::*>(field)));
    }
}

void set_from_environment(const Given& given, const std::string& value, Settings* settings) {
    const SettingField& field = given.setting.field;
    if (const auto* text = std::get_if<std::string Settings::*>(&field)) {
        set_text(given, value, &(settings->**text));
    } else if (const auto* number = std::get_if<int64_t Settings::*>(&field)) {
        int64_t parsed = 0;
        const char* end = value.data() + value.size();
        const auto result = std::from_chars(value.data(), end, parsed);
        if (result.ec != std::errc() || result.ptr != end) {
            refuse(given, "is no whole number");
        }
        set_number(given, parsed, &(settings->**number));
    } else {
        Names names;
        std::istringstream stream(value);
        for (std::string name; std::getline(stream, name, ',');) {
            names.push_back(name);
        }
        set_names(given, std::move(names), &(settings->*std::get<Names Settings::*>(field)));
    }
}

void check_section(const std::string& place, const std::string& section, const toml::node& node) {
    Names sections;
    for (const Setting& setting : all_settings()) {
        sections.emplace_back(setting.section);
    }
    if (std::find(sections.begin(), sections.end(), section) != sections.end()) {
        if (!node.is_table()) {
            throw SettingsError(place + section + " must be a section, [" + section +
                                "], with its settings below");
        }
    } else if (!node.is_table()) {
        refuse_unknown(place, section, file_name_of);
    } else if (node.as_table()->empty()) {
        throw SettingsError(place + "unknown section [" + section + "]: did you mean [" +
                            nearest(section, sections) + "]?");
    }
}

[[noreturn]] void refuse_toml(std::string_view file_name, const toml::parse_error& error) {
    const std::string description(error.description());
    const char* const todo =
        description.find("redefine") != std::string::npos
            ? "each setting and each [section] stands there once"
            : "a line is [section], name = NUMBER, name = \"TEXT\", or # and a comment";
    throw SettingsError(place_of(file_name, error.source()) + description + ": " + todo);
}

void read_toml(std::string_view text, std::string_view file_name, Settings* settings) {
    toml::table document;
    try {
        document = toml::parse(text, file_name);
    } catch (const toml::parse_error& error) {
        refuse_toml(file_name, error);
    }
    for (const auto& [section, members] : document) {
        const std::string section_name(section.str());
        check_section(place_of(file_name, members.source()), section_name, members);
        for (const auto& [key, node] : *members.as_table()) {
            const std::string name = section_name + "." + std::string(key.str());
            const std::string place = place_of(file_name, node.source());
            const Setting* const setting = find_setting(name, file_name_of);
            if (setting == nullptr) {
                refuse_unknown(place, name, file_name_of);
            }
            set_from_toml({*setting, place, name}, node, settings);
        }
    }
}

void read_environment(const char* const* environment, Settings* settings) {
    for (; *environment != nullptr; ++environment) {
        const std::string_view variable(*environment);
        const size_t equals = variable.find('=');
        if (variable.substr(0, kEnvironmentPrefix.size()) != kEnvironmentPrefix ||
            equals == std::string_view::npos) {
            continue;
        }
        const std::string name(variable.substr(0, equals));
        const Setting* const setting = find_setting(name, environment_name_of);
        if (setting == nullptr) {
            refuse_unknown(kEnvironmentPlace, name, environment_name_of);
        }
        set_from_environment({*setting, kEnvironmentPlace, name},
                             std::string(variable.substr(equals + 1)), settings);
    }
}

std::string read_file(const std::string& name) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(name.c_str(), "rbe"), &fclose);
    std::string text;
    char piece[4096];
    for (size_t bytes = 1; file != nullptr && bytes > 0;) {
        bytes = fread(piece, 1, sizeof piece, file.get());
        text.append(piece, bytes);
    }
    if (file == nullptr || ferror(file.get()) != 0) {
        throw SettingsError("cannot read " + name + ": " + strerror(errno) +
                            ": --config wants a file like conf/sluiced.toml");
    }
    return text;
}

// It must be the same after a restart: what a consumer had read and not acknowledged is found under
// its name.
std::string default_name() {
    char host[256] = {};
    if (gethostname(host, sizeof host - 1) != 0) {
        throw SettingsError("the host has no name: set load.name");
    }
    return host;
}

}  // namespace

Settings read_settings(std::string_view toml, std::string_view file_name,
                       const char* const* environment) {
    Settings settings;
    read_toml(toml, file_name, &settings);
    read_environment(environment, &settings);
    if (settings.load_name.empty()) {
        settings.load_name = default_name();
    }
    return settings;
}

Settings load_settings(const std::string& file_name, const char* const* environment) {
    return read_settings(file_name.empty() ? std::string() : read_file(file_name), file_name,
                         environment);
}

}  // namespace sluice
