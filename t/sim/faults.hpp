// What goes wrong. Each fault hits a part of the world that chance picks.
#pragma once

#include "t/sim/plan.hpp"

namespace sluice::sim {

struct World;

void strike(World* world, Fault fault);

}  // namespace sluice::sim
