// Performs the core's Redis steps on the simulated Redis and answers as daemon/redis_stream.cpp
// does from a real one.
#pragma once

#include "daemon/load/actions.hpp"
#include "t/sim/sim_redis.hpp"

namespace sluice::sim {

struct World;

RedisResult perform_redis(World* world, unsigned consumer, const RedisAction& action);

}  // namespace sluice::sim
