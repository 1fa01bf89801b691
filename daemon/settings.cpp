#include "daemon/settings.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <variant>

#include <toml++/toml.h>

#include "common/redis_url.hpp"
#include "daemon/nearest.hpp"

namespace sluice {
namespace {

using Names = std::vector<std::string>;
using Field = std::variant<std::string Settings::*, int64_t Settings::*, Names Settings::*>;

struct Setting {
    const char* section;
    const char* key;
    Field field;
    int64_t least = 0;  // of a number, or of the bytes of a text
    int64_t most = 0;
};

constexpr int64_t kTextBytesMax = 4096;

const Setting kSettings[] = {
    {"redis", "url", &Settings::redis_url, 1, kTextBytesMax},
    {"redis", "password_file", &Settings::redis_password_file, 0, kTextBytesMax},
    {"redis", "stream", &Settings::redis_stream, 1, kStreamNameBytesMax},
    {"redis", "group", &Settings::redis_group, 1, 200},
    {"redis", "other_groups", &Settings::redis_other_groups, 1, 200},
    {"redis", "timeout_ms", &Settings::redis_timeout_ms, 1000, 60000},
    {"postgres", "dsn", &Settings::postgres_dsn, 0, kTextBytesMax},
    {"postgres", "timeout_ms", &Settings::postgres_timeout_ms, 1000, 600000},
    {"load", "name", &Settings::load_name, 0, 200},
    {"load", "consumers", &Settings::load_consumers, 1, 64},
    {"load", "batch_rows", &Settings::load_batch_rows, 1, 1000000},
    {"load", "batch_bytes", &Settings::load_batch_bytes, 4096, 256 * 1024 * 1024},
    {"load", "batch_age_ms", &Settings::load_batch_age_ms, 0, 60000},
    {"load", "claim_idle_ms", &Settings::load_claim_idle_ms, 1000, 86400000},
    {"load", "ledger_keep_hours", &Settings::load_ledger_keep_hours, 1, 24 * 366},
    {"storage", "keep_days", &Settings::storage_keep_days, 0, 366 * 100},
    {"storage", "keep_mb", &Settings::storage_keep_mb, 0, 1LL << 40},
    {"serve", "listen", &Settings::serve_listen, 1, kTextBytesMax},
    {"serve", "workers", &Settings::serve_workers, 1, 64},
    {"serve", "queue", &Settings::serve_queue, 1, 10000},
    {"serve", "query_timeout_ms", &Settings::serve_query_timeout_ms, 10, 600000},
};

constexpr std::string_view kEnvironmentPrefix = "SLUICED_";

std::string dotted(const Setting& setting) {
    return std::string(setting.section) + "." + setting.key;
}

std::string environment_name(const Setting& setting) {
    std::string name(kEnvironmentPrefix);
    name.append(setting.section).append("_").append(setting.key);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return name;
}

template <typename NameOf>
[[noreturn]] void refuse_unknown(const std::string& name, NameOf name_of) {
    std::vector<std::string> names;
    for (const Setting& setting : kSettings) {
        names.push_back(name_of(setting));
    }
    throw SettingsError("unknown setting " + name + ": did you mean " + nearest(name, names) + "?");
}

void check_range(const Setting& setting, const std::string& name, int64_t value, const char* unit) {
    if (value < setting.least || value > setting.most) {
        throw SettingsError(name + " must be " + std::to_string(setting.least) + " to " +
                            std::to_string(setting.most) + unit);
    }
}

void set_text(const Setting& setting, const std::string& name, std::string value,
              std::string* field) {
    check_range(setting, name, static_cast<int64_t>(value.size()), " bytes long");
    *field = std::move(value);
}

void set_names(const Setting& setting, const std::string& name, Names values, Names* field) {
    for (const std::string& value : values) {
        check_range(setting, name, static_cast<int64_t>(value.size()), " bytes long each");
    }
    *field = std::move(values);
}

void set_from_toml(const Setting& setting, const toml::node& node, Settings* settings) {
    const std::string name = dotted(setting);
    if (const auto* text = std::get_if<std::string Settings::*>(&setting.field)) {
        if (!node.is_string()) {
            throw SettingsError(name + " must be a string");
        }
        set_text(setting, name, **node.as_string(), &(settings->**text));
    } else if (const auto* number = std::get_if<int64_t Settings::*>(&setting.field)) {
        if (!node.is_integer()) {
            throw SettingsError(name + " must be a whole number");
        }
        check_range(setting, name, **node.as_integer(), "");
        settings->** number = **node.as_integer();
    } else {
        if (!node.is_array()) {
            throw SettingsError(name + " must be an array of strings");
        }
        Names values;
        for (const toml::node& element : *node.as_array()) {
            if (!element.is_string()) {
                throw SettingsError(name + " must be an array of strings");
            }
            values.push_back(**element.as_string());
        }
        set_names(setting, name, std::move(values),
                  &(settings->*std::get<Names Settings::*>(setting.field)));
    }
}

void set_from_environment(const Setting& setting, const std::string& value, Settings* settings) {
    const std::string name = environment_name(setting);
    if (const auto* text = std::get_if<std::string Settings::*>(&setting.field)) {
        set_text(setting, name, value, &(settings->**text));
    } else if (const auto* number = std::get_if<int64_t Settings::*>(&setting.field)) {
        int64_t parsed = 0;
        const char* end = value.data() + value.size();
        const auto result = std::from_chars(value.data(), end, parsed);
        if (result.ec != std::errc() || result.ptr != end) {
            throw SettingsError(name + " must be a whole number");
        }
        check_range(setting, name, parsed, "");
        settings->** number = parsed;
    } else {
        Names values;
        std::istringstream stream(value);
        for (std::string element; std::getline(stream, element, ',');) {
            values.push_back(element);
        }
        set_names(setting, name, std::move(values),
                  &(settings->*std::get<Names Settings::*>(setting.field)));
    }
}

void read_toml(std::string_view text, std::string_view file_name, Settings* settings) {
    toml::table document;
    try {
        document = toml::parse(text, file_name);
    } catch (const toml::parse_error& error) {
        std::ostringstream what;
        what << file_name << ": " << error.description() << " (" << error.source().begin << ")";
        throw SettingsError(what.str());
    }
    for (const auto& [section, members] : document) {
        if (!members.is_table()) {
            refuse_unknown(std::string(section.str()), dotted);
        }
        for (const auto& [key, node] : *members.as_table()) {
            const std::string name = std::string(section.str()) + "." + std::string(key.str());
            const auto* setting =
                std::find_if(std::begin(kSettings), std::end(kSettings),
                             [&](const Setting& candidate) { return dotted(candidate) == name; });
            if (setting == std::end(kSettings)) {
                refuse_unknown(name, dotted);
            }
            set_from_toml(*setting, node, settings);
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
        const auto* setting = std::find_if(
            std::begin(kSettings), std::end(kSettings),
            [&](const Setting& candidate) { return environment_name(candidate) == name; });
        if (setting == std::end(kSettings)) {
            refuse_unknown(name, environment_name);
        }
        set_from_environment(*setting, std::string(variable.substr(equals + 1)), settings);
    }
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
    RedisUrl url;
    const char* error = nullptr;
    if (!parse_redis_url(settings.redis_url, &url, &error)) {
        throw SettingsError(std::string("redis.url: ") + error);
    }
    if (settings.load_name.empty()) {
        settings.load_name = default_name();
    }
    return settings;
}

Settings load_settings(const std::string& file_name, const char* const* environment) {
    std::ostringstream text;
    if (!file_name.empty()) {
        std::ifstream file(file_name, std::ios::binary);
        text << file.rdbuf();
        if (!file) {
            throw SettingsError("cannot read " + file_name);
        }
    }
    return read_settings(text.str(), file_name, environment);
}

}  // namespace sluice
