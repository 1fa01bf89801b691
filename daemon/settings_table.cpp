#include "daemon/settings_table.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "common/decimal.hpp"
#include "common/redis_url.hpp"
#include "daemon/log.hpp"
#include "daemon/pg_dsn.hpp"
#include "daemon/redis_durability.hpp"

namespace sluice {
namespace {

constexpr int64_t kTextBytesMax = 4096;
constexpr const char* kRedisUrl =
    "redis://[user[:password]@]host[:port][/db] or unix://[user[:password]@]/path[?db=N]";
constexpr const char* kDsn =
    "a connection string of libpq, key=value key=value ... or postgresql://...";
constexpr const char* kPath = "the path of a file";
// sockaddr_un.sun_path
constexpr size_t kSocketPathBytesMax = 107;

std::string judge_redis_url(const std::string& text) {
    RedisUrl url;
    const char* error = nullptr;
    return parse_redis_url(text, &url, &error) ? "" : error;
}

std::string judge_other_redis_url(const std::string& text) {
    return text.empty() ? "" : judge_redis_url(text);
}

std::string judge_listen(const std::string& text) {
    static constexpr std::string_view kUnix = "unix:";
    if (text.compare(0, kUnix.size(), kUnix) == 0) {
        const size_t bytes = text.size() - kUnix.size();
        return bytes >= 1 && bytes <= kSocketPathBytesMax
                   ? ""
                   : "the path of a unix socket has 1 to 107 bytes";
    }
    const size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0) {
        return "host or port is missing";
    }
    uint32_t port = 0;
    return parse_decimal(std::string_view(text).substr(colon + 1), UINT16_MAX, &port) && port != 0
               ? ""
               : "the port must be a number from 1 to 65535";
}

constexpr const char* kLogLevels = "\"info\", \"warn\" or \"error\"";
constexpr const char* kLogFormats = "\"auto\", \"json\" or \"text\"";

std::string judge_log_level(const std::string& text) {
    LogLevel level{};
    return parse_log_level(text, &level) ? "" : "no such level";
}

std::string judge_log_format(const std::string& text) {
    LogFormat format{};
    return parse_log_format(text, &format) ? "" : "no such format";
}

std::string judge_listen_or_nowhere(const std::string& text) {
    return text.empty() ? "" : judge_listen(text);
}

std::string judge_redis_durability(const std::string& text) {
    Durability level{};
    return parse_durability(text, &level) ? "" : "no such level";
}

std::string judge_postgres_durability(const std::string& text) {
    return text == "fsync" || text == "memory" ? "" : "no such level";
}

Setting live(Setting setting) {
    setting.live = true;
    return setting;
}

std::string quoted(const std::string& text) {
    return '"' + text + '"';
}

}  // namespace

const std::vector<Setting>& all_settings() {
    static const std::vector<Setting> settings = {
        {"redis", "url", &Settings::redis_url, kRedisUrl, 1, kTextBytesMax, judge_redis_url},
        {"redis", "password_file", &Settings::redis_password_file, kPath, 0, kTextBytesMax},
        {"redis", "reader_url", &Settings::redis_reader_url, kRedisUrl, 0, kTextBytesMax,
         judge_other_redis_url},
        {"redis", "reader_password_file", &Settings::redis_reader_password_file, kPath, 0,
         kTextBytesMax},
        {"redis", "stream", &Settings::redis_stream, "the name of a key", 1, kStreamNameBytesMax},
        {"redis", "group", &Settings::redis_group, "the name of a group", 1, 200},
        {"redis", "other_groups", &Settings::redis_other_groups, "names of groups", 1, 200},
        {"redis", "timeout_ms", &Settings::redis_timeout_ms, "milliseconds", 1000, 60000},
        {"redis", "durability", &Settings::redis_durability,
         "\"fsync\", \"everysec\" or \"memory\"", 0, 0, judge_redis_durability},
        {"postgres", "dsn", &Settings::postgres_dsn, kDsn, 0, kTextBytesMax, judge_dsn},
        {"postgres", "password_file", &Settings::postgres_password_file, kPath, 0, kTextBytesMax},
        {"postgres", "loader_dsn", &Settings::postgres_loader_dsn, kDsn, 0, kTextBytesMax,
         judge_dsn},
        {"postgres", "loader_password_file", &Settings::postgres_loader_password_file, kPath, 0,
         kTextBytesMax},
        {"postgres", "reader_dsn", &Settings::postgres_reader_dsn, kDsn, 0, kTextBytesMax,
         judge_dsn},
        {"postgres", "reader_password_file", &Settings::postgres_reader_password_file, kPath, 0,
         kTextBytesMax},
        {"postgres", "migrator_dsn", &Settings::postgres_migrator_dsn, kDsn, 0, kTextBytesMax,
         judge_dsn},
        {"postgres", "migrator_password_file", &Settings::postgres_migrator_password_file, kPath, 0,
         kTextBytesMax},
        {"postgres", "timeout_ms", &Settings::postgres_timeout_ms, "milliseconds", 1000, 600000},
        {"postgres", "durability", &Settings::postgres_durability, "\"fsync\" or \"memory\"", 0, 0,
         judge_postgres_durability},
        {"load", "name", &Settings::load_name, "a name", 0, 200},
        {"load", "consumers", &Settings::load_consumers, "consumers", 1, 64},
        live({"load", "batch_rows", &Settings::load_batch_rows, "rows", 1, 1000000}),
        live(
            {"load", "batch_bytes", &Settings::load_batch_bytes, "bytes", 4096, 256 * 1024 * 1024}),
        live({"load", "batch_age_ms", &Settings::load_batch_age_ms, "milliseconds", 0, 60000}),
        live({"load", "claim_idle_ms", &Settings::load_claim_idle_ms, "milliseconds", 1000,
              86400000}),
        live(
            {"load", "ledger_keep_hours", &Settings::load_ledger_keep_hours, "hours", 1, 24 * 366}),
        live({"load", "tail_window_mb", &Settings::load_tail_window_mb, "megabytes", 0, 65536}),
        {"load", "listen", &Settings::load_listen, "host:port, unix:/path, or nothing", 0,
         kTextBytesMax, judge_listen_or_nowhere},
        live({"storage", "keep_days", &Settings::storage_keep_days, "days", 0, 366 * 100}),
        live({"storage", "keep_mb", &Settings::storage_keep_mb, "megabytes", 0, 1LL << 40}),
        live({"log", "level", &Settings::log_level, kLogLevels, 0, 0, judge_log_level}),
        live({"log", "format", &Settings::log_format, kLogFormats, 0, 0, judge_log_format}),
        {"serve", "listen", &Settings::serve_listen, "host:port or unix:/path", 1, kTextBytesMax,
         judge_listen},
        {"serve", "workers", &Settings::serve_workers, "threads", 1, 64},
        live({"serve", "queue", &Settings::serve_queue, "queries", 1, 10000}),
        {"serve", "exports", &Settings::serve_exports, "exports", 1, 64},
        live({"serve", "query_timeout_ms", &Settings::serve_query_timeout_ms, "milliseconds", 10,
              600000}),
        {"serve", "tail_clients", &Settings::serve_tail_clients, "clients", 0, 10000},
    };
    return settings;
}

std::string file_name_of(const Setting& setting) {
    return std::string(setting.section) + "." + setting.key;
}

std::string environment_name_of(const Setting& setting) {
    std::string name("SLUICED_");
    name.append(setting.section).append("_").append(setting.key);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return name;
}

std::string rule_of(const Setting& setting) {
    if (setting.most == 0) {
        return setting.what;
    }
    const std::string range = std::to_string(setting.least) + " to " + std::to_string(setting.most);
    if (std::holds_alternative<int64_t Settings::*>(setting.field)) {
        return std::string("a whole number of ") + setting.what + ", " + range;
    }
    const bool many = std::holds_alternative<std::vector<std::string> Settings::*>(setting.field);
    return std::string(setting.what) + ", " + range + (many ? " bytes each" : " bytes");
}

std::string default_of(const Setting& setting) {
    const Settings defaults;
    if (const auto* number = std::get_if<int64_t Settings::*>(&setting.field)) {
        return std::to_string(defaults.*(*number));
    }
    if (const auto* text = std::get_if<std::string Settings::*>(&setting.field)) {
        return quoted(defaults.*(*text));
    }
    std::string list;
    for (const std::string& element :
         defaults.*std::get<std::vector<std::string> Settings::*>(setting.field)) {
        list.append(list.empty() ? "" : ", ").append(quoted(element));
    }
    return "[" + list + "]";
}

}  // namespace sluice
