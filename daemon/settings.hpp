// The daemon's settings: from a TOML file, each overridden by SLUICED_<SECTION>_<KEY> in the
// environment. A setting nobody knows is an error, as a typing mistake would otherwise be a
// default.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/frame.hpp"

namespace sluice {

struct Settings {
    std::string redis_url = "redis://127.0.0.1:6379";
    std::string redis_password_file;
    std::string redis_reader_url;  // empty: as above
    std::string redis_reader_password_file;
    std::string redis_stream{kDefaultStream};
    std::string redis_group{kDefaultGroup};
    std::vector<std::string> redis_other_groups;
    int64_t redis_timeout_ms = 5000;
    std::string redis_durability = "fsync";  // as parse_durability() takes it

    std::string postgres_dsn = "dbname=sluice";
    std::string postgres_password_file;
    // Of those who log in with few rights each, what is not as above.
    std::string postgres_loader_dsn;
    std::string postgres_loader_password_file;
    std::string postgres_reader_dsn;
    std::string postgres_reader_password_file;
    std::string postgres_migrator_dsn;
    std::string postgres_migrator_password_file;
    int64_t postgres_timeout_ms = 30000;
    std::string postgres_durability = "fsync";  // or "memory"

    std::string load_name;  // empty in the file: the host's name
    int64_t load_consumers = 1;
    int64_t load_batch_rows = 50000;
    int64_t load_batch_bytes = 8 * 1024 * 1024;
    int64_t load_batch_age_ms = 50;
    int64_t load_claim_idle_ms = 120000;
    int64_t load_ledger_keep_hours = 48;
    int64_t load_tail_window_mb = 32;
    std::string load_listen = "127.0.0.1:18725";  // empty: nowhere

    int64_t storage_keep_days = 0;
    int64_t storage_keep_mb = 0;

    std::string log_level = "info";   // as parse_log_level() takes it
    std::string log_format = "auto";  // as parse_log_format()

    std::string serve_listen = "127.0.0.1:18724";
    int64_t serve_workers = 4;
    int64_t serve_queue = 64;
    int64_t serve_exports = 2;
    int64_t serve_query_timeout_ms = 5000;
    int64_t serve_tail_clients = 500;
};

class SettingsError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// environment: NAME=VALUE, closed by a null pointer, as environ. Throws SettingsError, whose text
// names the setting and says what would have been right.
[[nodiscard]] Settings read_settings(std::string_view toml, std::string_view file_name,
                                     const char* const* environment);

// Without a file name only the environment is read.
[[nodiscard]] Settings load_settings(const std::string& file_name, const char* const* environment);

}  // namespace sluice
