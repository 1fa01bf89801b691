#include "t/sim/faults.hpp"

#include <algorithm>

#include "t/sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr int64_t kMs = 1000;
constexpr int64_t kSecondUs = 1000 * kMs;
constexpr int64_t kDayMs = 24 * 3600 * 1000;

SimLoader& any_loader(World* world) {
    return *world->loaders[world->chance.below(world->loaders.size())];
}

int64_t soon_us(World* world) {
    return world->now_us + world->chance.among({0 * kMs, 20 * kMs, 2 * kSecondUs});
}

void crash_redis(World* world) {
    ++world->redis_run;
    world->redis_up_at_us = soon_us(world);
    world->late_commands.clear();
    world->redis.set_id_floor({});
}

// To when an entry was added that the stream no longer knows: ids are issued again.
void set_clock_back(World* world, const std::vector<StreamEntry>& before) {
    const StreamId last_id = world->redis.last_id();
    std::vector<uint64_t> lost_ms;
    for (const StreamEntry& entry : before) {
        if (last_id < entry.id) {
            lost_ms.push_back(entry.id.ms);
        }
    }
    if (!lost_ms.empty() && world->chance.percent(70)) {
        const uint64_t ms = lost_ms[world->chance.below(lost_ms.size())];
        world->redis_clock_offset_ms += static_cast<int64_t>(ms - world->redis_clock_ms());
    }
}

void fall_back(World* world) {
    const std::vector<StreamEntry> before = world->redis.entries();
    crash_redis(world);
    world->redis.fall_back();
    world->redis_lost_state = true;
    world->judge.entries_lost(world->redis);
    set_clock_back(world, before);
}

// A trim is several questions and their conclusion. What happens in between is seen by none of them
// if somebody makes the group anew, or fills the stream again with the same ids, at that moment.
bool somebody_trims(const World& world) {
    return std::any_of(world.loaders.begin(), world.loaders.end(),
                       [](const auto& loader) { return loader->running() && loader->trimming(); });
}

void remove_group(World* world, GroupName name) {
    if (!somebody_trims(*world)) {
        world->redis.remove_group(name);
        world->redis_lost_state = true;
    }
}

// Connections stand. Ids are issued again only if the clock goes back at that moment; no command of
// Redis says "unless the stream is another one", so of several loaders one that has not noticed may
// acknowledge what another one has just read.
void remove_stream(World* world) {
    const std::vector<StreamEntry> before = world->redis.entries();
    const StreamId next = world->redis.last_id().next();
    world->redis.remove_stream();
    world->redis_lost_state = true;
    world->judge.entries_lost(world->redis);
    if (world->loaders.size() == 1 && world->late_commands.empty() && !somebody_trims(*world)) {
        set_clock_back(world, before);
    } else {
        world->redis.set_id_floor(std::max(next, world->redis.id_floor()));
    }
}

// By somebody's hand, also ones that were read and not yet acknowledged.
void delete_entries(World* world) {
    SimRedis& redis = world->redis;
    const std::vector<StreamEntry>& entries = redis.entries();
    const std::vector<Pending>& pending = redis.group(GroupName::kLoaders).pending;
    size_t count = 1 + world->chance.below(3);
    if (!pending.empty()) {
        count += static_cast<size_t>(
            std::count_if(entries.begin(), entries.end(),
                          [&](const StreamEntry& entry) { return entry.id < pending.front().id; }));
    }
    redis.remove_oldest(std::min(entries.size(), count));
    world->judge.entries_lost(redis);
}

void lose_connection_to_postgres(World* world) {
    SimLoader& loader = any_loader(world);
    if (loader.running()) {
        const int64_t until_us = world->now_us + world->chance.between(0, 2 * kSecondUs);
        loader.lose_postgres(static_cast<SimLoader::Loss>(world->chance.below(3)), until_us);
    }
}

void fail_postgres(World* world, PgStatus status) {
    for (const auto& loader : world->loaders) {
        if (loader->fail_postgres(status)) {
            return;
        }
    }
}

void hit_redis(World* world, Fault fault) {
    SimRedis& redis = world->redis;
    Chance& chance = world->chance;
    switch (fault) {
        case Fault::kRedisConnectionLost: {
            SimLoader& loader = any_loader(world);
            if (loader.running()) {
                loader.lose_redis(static_cast<SimLoader::Loss>(chance.below(3)));
            }
            break;
        }
        case Fault::kRedisRefuses:
            any_loader(world).refuse_redis();
            break;
        case Fault::kRedisCrash:
            crash_redis(world);
            break;
        case Fault::kRedisFallsBack:
            fall_back(world);
            break;
        case Fault::kStreamRemoved:
            remove_stream(world);
            break;
        case Fault::kGroupRemoved:
            remove_group(world, GroupName::kLoaders);
            break;
        case Fault::kEntriesDeleted:
            delete_entries(world);
            break;
        case Fault::kRedisFull:
            redis.set_entries_max(chance.percent(70) ? redis.entries().size() : SIZE_MAX);
            break;
        case Fault::kRedisClockJumps:
            world->redis_clock_offset_ms += chance.among({-5000, -100, 5000});
            break;
        default:
            remove_group(world, GroupName::kArchive);
    }
}

void hit_postgres(World* world, Fault fault) {
    switch (fault) {
        case Fault::kPgConnectionLost:
            lose_connection_to_postgres(world);
            break;
        case Fault::kPgRetry:
            fail_postgres(world, PgStatus::kRetry);
            break;
        case Fault::kPgRefuses:
            fail_postgres(world, PgStatus::kRefused);
            break;
        case Fault::kPgRefusesAllRows:
            world->postgres.refuse_all_rows(world->chance.percent(60));
            break;
        case Fault::kPgRestart:
            world->postgres.restart();
            world->postgres_up_at_us = soon_us(world);
            break;
        case Fault::kPgFailOver:
            world->postgres.fail_over();
            world->postgres_up_at_us = soon_us(world);
            break;
        default:
            world->postgres.drop_empty_partition();
    }
}

void hit_loader(World* world, Fault fault) {
    Chance& chance = world->chance;
    SimLoader& loader = any_loader(world);
    if (!loader.running()) {
        return;
    }
    switch (fault) {
        case Fault::kLoaderKilled:
            loader.kill();
            break;
        case Fault::kLoaderStopped:
            loader.stop();
            break;
        case Fault::kLaneStalls: {
            const Lane lane = chance.percent(50) ? Lane::kRedis : Lane::kPg;
            loader.stall(lane, world->now_us + chance.among({20 * kMs, kSecondUs, 20 * kSecondUs}));
            break;
        }
        default:
            loader.set_wall_offset_ms(chance.among({-kDayMs, int64_t{0}, kDayMs}));
    }
}

// Minutes, or in some plans days, longer than the ledger remembers. Then nothing comes back from
// before but what is in the stream: no write of an edge, nor rows that a loader still held.
void pause(World* world) {
    if (world->plan.hours_pass) {
        for (const auto& loader : world->loaders) {
            if (loader->running() && loader->core().buffered_bytes() != 0) {
                loader->kill();
            }
        }
        world->now_us += world->chance.between(3600, 60 * 3600) * kSecondUs;
        world->recently_sent.clear();
        world->redis.keep_snapshot();
    } else {
        world->now_us += world->chance.between(1, 100) * kSecondUs;
    }
}

}  // namespace

void strike(World* world, Fault fault) {
    ++world->faults_struck;
    if (world->trace.on()) {
        world->trace.line("fault: %s", name_of(fault));
    }
    switch (fault) {
        case Fault::kPgConnectionLost:
        case Fault::kPgRetry:
        case Fault::kPgRefuses:
        case Fault::kPgRefusesAllRows:
        case Fault::kPgRestart:
        case Fault::kPgFailOver:
        case Fault::kPgPartitionDropped:
            hit_postgres(world, fault);
            break;
        case Fault::kLoaderKilled:
        case Fault::kLoaderStopped:
        case Fault::kLaneStalls:
        case Fault::kWallClockJumps:
            hit_loader(world, fault);
            break;
        case Fault::kLongPause:
            pause(world);
            break;
        default:
            hit_redis(world, fault);
    }
}

}  // namespace sluice::sim
