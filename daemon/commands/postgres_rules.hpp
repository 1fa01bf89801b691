// What is known of a Postgres, and what that means for what was promised of stored logs.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "daemon/commands/finding.hpp"

namespace sluice {

// Settings of the server as a loader's session has them, by name.
using PostgresSettings = std::map<std::string, std::string, std::less<>>;

inline constexpr const char* kPostgresSettingNames =
    "{server_version,server_version_num,server_encoding,fsync,full_page_writes,synchronous_commit,"
    "wal_level,default_transaction_read_only,lock_timeout,idle_session_timeout,"
    "transaction_timeout}";

// durable: whether postgres.durability asks for what survives a loss of power.
[[nodiscard]] Findings judge_postgres(const PostgresSettings& settings, bool in_recovery,
                                      bool durable);

}  // namespace sluice
