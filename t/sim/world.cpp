#include "t/sim/world.hpp"

#include <algorithm>

namespace sluice::sim {
namespace {

constexpr int64_t kStartUs = 1000 * 1000;

constexpr uint8_t bit_of(GroupName name) {
    return static_cast<uint8_t>(1U << static_cast<unsigned>(name));
}

}  // namespace

World::World(uint64_t seed, bool traced)
    : chance(seed),
      now_us(kStartUs),
      trace(traced, &now_us),
      plan(&chance),
      edge(&chance, plan.poison_percent, plan.large_percent),
      judge(&edge,
            bit_of(GroupName::kLoaders) | (plan.has_archive ? bit_of(GroupName::kArchive) : 0)),
      redis(&judge, plan.node_entries),
      postgres(&judge, &edge, &chance, plan.copy_rows_max) {
    for (unsigned number = 0; number < plan.loaders; ++number) {
        loaders.push_back(std::make_unique<SimLoader>(this, number));
    }
}

bool World::rows_are_held() const {
    return std::any_of(loaders.begin(), loaders.end(), [](const auto& loader) {
        return loader->running() && loader->core().buffered_bytes() != 0;
    });
}

}  // namespace sluice::sim
