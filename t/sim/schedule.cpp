#include "t/sim/schedule.hpp"

#include <algorithm>

#include "t/sim/faults.hpp"
#include "t/sim/redis_shell.hpp"

namespace sluice::sim {
namespace {

constexpr int64_t kMs = 1000;
constexpr int64_t kSecondUs = 1000 * kMs;
constexpr int64_t kHourMs = 3600 * 1000;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr size_t kRemembered = 6;
// Longer than the longest wait of the core, a minute after many refusals, and what comes behind it.
constexpr int64_t kSettleUs = 100 * kSecondUs;
constexpr unsigned kMovesAtRestMax = 20000;

}  // namespace

void Schedule::run(Tally* tally) {
    tally_ = tally;
    pass_time(0);
    for (unsigned i = 0; i < world_.plan.steps; ++i) {
        step();
    }
    calm_down();
    settle();
    end_loaders();
    ++tally->schedules;
    for (const SentFrame& frame : world_.edge.frames()) {
        ++tally->frames_sent;
        tally->frames_stored += frame.stored ? 1 : 0;
        tally->frames_lost += frame.acknowledged && !frame.stored && frame.may_be_lost ? 1 : 0;
    }
}

void Schedule::step() {
    Chance& chance = world_.chance;
    const Plan& plan = world_.plan;
    pass_time(chance.one_in(20) ? chance.between(0, 30 * kMs) : chance.between(0, kMs / 2));
    see_to_servers();
    see_to_loaders();
    if (!plan.faults.empty() && chance.below(1000) < plan.fault_per_mille) {
        ++tally_->faults;
        strike(&world_, plan.faults[chance.below(plan.faults.size())]);
    } else if (chance.percent(plan.send_percent)) {
        chance.percent(80) ? send() : send_again();
    } else if (chance.percent(4)) {
        move_archive(50);
    } else {
        move_some_lane();
    }
}

void Schedule::pass_time(int64_t us) {
    world_.now_us += us;
    world_.redis.set_clock_ms(world_.redis_clock_ms());
}

void Schedule::send() {
    Chance& chance = world_.chance;
    const Plan& plan = world_.plan;
    EntryKind kind = EntryKind::kFrame;
    if (chance.percent(plan.odd_entry_percent)) {
        kind = chance.among({EntryKind::kNewerVersion, EntryKind::kPlain, EntryKind::kBroken});
    }
    const int64_t t_ms = draw_time_ms();
    SentFrame* frame = world_.edge.make_frame(kind, chance.percent(plan.keyed_percent), t_ms);
    put(frame, t_ms);
    if (kind != EntryKind::kFrame) {
        return;  // without an id of its own, it would be another one if it was sent again
    }
    world_.recently_sent.push_back(frame);
    if (world_.recently_sent.size() > kRemembered) {
        world_.recently_sent.erase(world_.recently_sent.begin());
    }
}

// An edge that did not hear of the first time sends the same frame; the client of a keyed request
// makes a new one, with a time of its own.
void Schedule::send_again() {
    if (world_.recently_sent.empty()) {
        return;
    }
    SentFrame* frame = world_.recently_sent[world_.chance.below(world_.recently_sent.size())];
    int64_t t_ms = frame->times_ms.front();
    if (is_keyed(frame->producer_id)) {
        t_ms = draw_time_ms();
        frame->times_ms.push_back(t_ms);
    }
    put(frame, t_ms);
}

void Schedule::put(SentFrame* frame, int64_t t_ms) {
    const bool heard = world_.chance.percent(90);
    std::optional<StreamId> id;
    if (world_.redis_up()) {
        id = world_.redis.add(world_.edge.encode(frame, t_ms));
    }
    if (id && frame->kind == EntryKind::kPlain) {
        frame->times_ms = {static_cast<int64_t>(id->ms)};
    }
    if (id && heard) {
        frame->acknowledged = true;
        frame->may_be_lost = false;
    }
    if (world_.trace.on()) {
        world_.trace.line("edge: frame %u, %u records, t %lld: %s%s", frame->number,
                          frame->records(), static_cast<long long>(t_ms),
                          id ? to_string(*id).c_str() : "refused", heard ? "" : " (unheard)");
    }
}

int64_t Schedule::draw_time_ms() {
    Chance& chance = world_.chance;
    const int64_t now_ms = world_.wall_ms() + chance.between(-2, 2);
    if (!chance.percent(world_.plan.odd_time_percent)) {
        return now_ms;
    }
    const int64_t hour_ms = now_ms / kHourMs * kHourMs;
    const int64_t day_ms = now_ms / kDayMs * kDayMs;
    return chance.among({hour_ms, hour_ms - 1, hour_ms + kHourMs, day_ms, day_ms - 1,
                         day_ms + kDayMs, int64_t{0}, kReceiveTimeMinMs, kReceiveTimeMaxMs + 1});
}

void Schedule::move_archive(unsigned acknowledge_percent) {
    SimRedis& redis = world_.redis;
    if (!world_.plan.has_archive || !world_.redis_up()) {
        return;
    }
    const Group& group = redis.group(GroupName::kArchive);
    if (!group.exists) {
        redis.make_group(GroupName::kArchive, world_.chance.percent(30), false);
        return;
    }
    redis.read_new(GroupName::kArchive, 0, 1 + world_.chance.below(4), world_.now_us);
    std::vector<StreamId> ids;
    for (const Pending& pending : group.pending) {
        if (world_.chance.percent(acknowledge_percent)) {
            ids.push_back(pending.id);
        }
    }
    redis.acknowledge(GroupName::kArchive, ids);
}

void Schedule::see_to_servers() {
    Chance& chance = world_.chance;
    world_.postgres.end_abandoned(world_.now_us);
    if (!world_.late_commands.empty() && chance.percent(20)) {
        const LateCommand late = world_.late_commands.front();
        world_.late_commands.erase(world_.late_commands.begin());
        if (world_.trace.on()) {
            world_.trace.line("redis comes to loader %u's %s", late.loader,
                              text_of(late.action).c_str());
        }
        perform_redis(&world_, late.loader, late.action);
    }
    if (world_.plan.has(Fault::kRedisFallsBack) && chance.percent(world_.plan.snapshot_percent)) {
        world_.redis.keep_snapshot();
    }
}

void Schedule::see_to_loaders() {
    for (const auto& loader : world_.loaders) {
        if (loader->ended()) {
            loader->retire();
        }
        if (!loader->running() && world_.chance.percent(15)) {
            loader->start();
        }
    }
}

void Schedule::move_some_lane() {
    struct Mover {
        unsigned number;
        Lane lane;
    };
    Mover ready[8];
    size_t count = 0;
    for (unsigned number = 0; number < world_.loaders.size(); ++number) {
        for (const Lane lane : {Lane::kRedis, Lane::kPg}) {
            if (world_.loaders[number]->ready(lane)) {
                ready[count++] = {number, lane};
            }
        }
    }
    if (count == 0) {
        const int64_t next_us = std::min(next_ready_us(), world_.now_us + kSecondUs);
        pass_time(next_us - world_.now_us);
        return;
    }
    const Mover& mover = ready[world_.chance.below(count)];
    const Plan& plan = world_.plan;
    const bool slow = mover.lane == plan.slow_lane &&
                      (mover.number == plan.slow_loader || plan.slow_loader == plan.loaders);
    if (!slow || !world_.chance.percent(plan.slow_percent)) {
        move_on(world_.loaders[mover.number].get(), mover.lane, 70);
    }
}

// Often several moves in a row, so that a schedule comes far within its steps.
void Schedule::move_on(SimLoader* loader, Lane lane, unsigned on_percent) {
    do {
        loader->move(lane);
        ++tally_->moves;
    } while (world_.chance.percent(on_percent) && loader->ready(lane));
}

void Schedule::calm_down() {
    if (world_.trace.on()) {
        world_.trace.line("the faults end");
    }
    world_.redis_up_at_us = world_.now_us;
    world_.postgres_up_at_us = world_.now_us;
    world_.late_commands.clear();
    // Who makes room is the loader, if its group is there or can be made.
    if (!world_.redis.group(GroupName::kLoaders).exists && !world_.plan.scripts_may_fill) {
        world_.redis.set_entries_max(SIZE_MAX);
    }
    // Another loader takes over from one that never comes back.
    const bool all_come_back =
        world_.loaders.size() == 1 || !world_.plan.claims() || world_.chance.percent(60);
    for (const auto& loader : world_.loaders) {
        if (loader->ended()) {
            loader->retire();
        }
        if (loader == world_.loaders.back() && !all_come_back) {
            if (loader->running()) {
                loader->kill();
            }
        } else if (!loader->running()) {
            loader->start();
        }
        loader->stall(Lane::kRedis, 0);
        loader->stall(Lane::kPg, 0);
    }
}

void Schedule::settle() {
    const int64_t until_us = world_.now_us + kSettleUs;
    for (;;) {
        world_.postgres.end_abandoned(world_.now_us);
        world_.postgres.refuse_all_rows(false);
        restart_ended_loaders();
        move_archive(100);
        run_ready_lanes();
        const char* why = unsettled();
        if (why == nullptr) {
            return;
        }
        const int64_t next_us = std::min(next_ready_us(), world_.now_us + kSecondUs);
        if (next_us > until_us) {
            violated("%s, %lld s after the last fault", why,
                     static_cast<long long>(kSettleUs / kSecondUs));
        }
        pass_time(next_us - world_.now_us);
    }
}

// Who was told to stop just before the faults ended.
void Schedule::restart_ended_loaders() {
    for (const auto& loader : world_.loaders) {
        if (loader->ended()) {
            loader->retire();
            loader->start();
        }
    }
}

void Schedule::run_ready_lanes() {
    for (unsigned moves = 0; moves < kMovesAtRestMax;) {
        const unsigned before = moves;
        for (const auto& loader : world_.loaders) {
            for (const Lane lane : {Lane::kRedis, Lane::kPg}) {
                for (; loader->ready(lane) && moves < kMovesAtRestMax; ++moves) {
                    loader->move(lane);
                }
            }
        }
        tally_->moves += moves - before;
        if (moves == before) {
            return;
        }
    }
    violated("the lanes never come to rest");
}

int64_t Schedule::next_ready_us() const {
    int64_t next_us = INT64_MAX;
    for (const auto& loader : world_.loaders) {
        for (const Lane lane : {Lane::kRedis, Lane::kPg}) {
            next_us = std::min(next_us, loader->ready_at_us(lane));
        }
    }
    return next_us;
}

const char* Schedule::unsettled() const {
    if (world_.judge.missing_frame() != nullptr) {
        return "an acknowledged frame is not stored";
    }
    if (own_pending_left()) {
        return "an entry is neither acknowledged nor to be left";
    }
    if (trimming_left()) {
        return "the stream is not trimmed";
    }
    for (const auto& loader : world_.loaders) {
        if (loader->running() && loader->core().buffered_bytes() != 0) {
            return "a loader still holds rows";
        }
    }
    return nullptr;
}

bool Schedule::own_pending_left() const {
    const SimRedis& redis = world_.redis;
    const Group& group = redis.group(GroupName::kLoaders);
    if (!group.exists || redis.has_new(GroupName::kLoaders)) {
        return true;
    }
    return std::any_of(group.pending.begin(), group.pending.end(), [&](const Pending& pending) {
        const StreamEntry* entry = redis.find(pending.id);
        return entry == nullptr || entry->body->frame->kind != EntryKind::kNewerVersion;
    });
}

bool Schedule::trimming_left() const {
    const SimRedis& redis = world_.redis;
    StreamId bound = kStreamIdMax;
    for (const GroupName name : {GroupName::kLoaders, GroupName::kArchive}) {
        const Group& group = redis.group(name);
        if (name == GroupName::kArchive && !world_.plan.has_archive) {
            continue;
        }
        if (!group.exists) {
            return false;
        }
        bound = std::min(bound, group.last_delivered.next());
        bound = group.pending.empty() ? bound : std::min(bound, group.pending.front().id);
    }
    // However small they are; and where Redis is full because of it, nothing is kept.
    constexpr uint64_t kEntryBytesAtLeast = 64;
    const uint64_t keep =
        redis.full() ? 0 : world_.plan.limits.tail_window_bytes / kEntryBytesAtLeast;
    return redis.can_trim(bound, keep);
}

void Schedule::end_loaders() {
    for (const auto& loader : world_.loaders) {
        if (loader->running()) {
            loader->stop();
        }
    }
    const int64_t until_us = world_.now_us + kSettleUs;
    const auto ended = [](const auto& loader) { return !loader->running() || loader->ended(); };
    for (;;) {
        world_.postgres.end_abandoned(world_.now_us);
        run_ready_lanes();
        if (std::all_of(world_.loaders.begin(), world_.loaders.end(), ended)) {
            return;
        }
        if (world_.now_us > until_us) {
            violated("a loader does not stop");
        }
        pass_time(std::min(next_ready_us() - world_.now_us, kSecondUs));
    }
}

}  // namespace sluice::sim
