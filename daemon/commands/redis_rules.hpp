// What is wrong with a Redis, for sluiced check.
#pragma once

#include "daemon/commands/finding.hpp"
#include "daemon/redis_durability.hpp"

namespace sluice {

// Of facts that are complete. wanted: the least that there is to be.
[[nodiscard]] Findings judge_redis(const RedisFacts& facts, Durability wanted);

}  // namespace sluice
