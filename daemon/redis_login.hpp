// Whom a part of sluiced logs in to Redis as.
#pragma once

#include "daemon/redis_connection.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// As sluiced load, status and check.
[[nodiscard]] RedisLogin redis_login_of(const Settings& settings, const char* client_name);
// As sluiced serve, which only looks: the same user, unless redis.reader_url names another.
[[nodiscard]] RedisLogin redis_reader_login_of(const Settings& settings, const char* client_name);

}  // namespace sluice
