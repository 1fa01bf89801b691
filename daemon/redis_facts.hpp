// What Redis is asked about itself, by the loader and by commands.
#pragma once

#include <map>
#include <string>

#include "daemon/redis_connection.hpp"
#include "daemon/redis_durability.hpp"
#include "daemon/settings.hpp"

namespace sluice {

// Where it is, without a password.
[[nodiscard]] std::string redis_place(const Settings& settings);

// What redis.durability asks for.
[[nodiscard]] Durability required_of_redis(const Settings& settings);

[[nodiscard]] RedisFacts ask_redis_facts(RedisConnection* redis);

// A reply of names and values by turns, as of HGETALL, CONFIG GET and XINFO; numbers as text.
[[nodiscard]] std::map<std::string, std::string, std::less<>> fields_of(const RedisValue& reply);

}  // namespace sluice
