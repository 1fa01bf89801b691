#include "t/sim/redis_shell.hpp"

#include <algorithm>

#include "t/sim/world.hpp"

namespace sluice::sim {
namespace {

using Delivered = SimRedis::Delivered;

// A reply of its own, as hiredis makes one: nothing of it is left when the core lets go of it.
class ReplyBytes : public EntryBytes {
  public:
    explicit ReplyBytes(size_t bytes) { text_.reserve(bytes); }

    std::string_view copy(std::string_view text) {
        const size_t begin = text_.size();
        text_.append(text);
        return std::string_view(text_).substr(begin);
    }

  private:
    std::string text_;
};

RedisResult failure(RedisStatus status) {
    RedisResult result;
    result.status = status;
    return result;
}

void answer_entries(const std::vector<Delivered>& delivered, RedisResult* result) {
    size_t bytes = 0;
    for (const Delivered& entry : delivered) {
        for (size_t i = 0; entry.body && i < entry.body->fields.size(); ++i) {
            bytes += entry.body->fields[i].value.size();
        }
    }
    auto reply = std::make_unique<ReplyBytes>(bytes);
    for (const Delivered& entry : delivered) {
        Entry& out = result->entries.emplace_back();
        if (entry.body == nullptr) {
            out.id = entry.id;
            out.gone = true;
            continue;
        }
        EntryField fields[8];
        size_t count = 0;
        for (const EntryField& field : entry.body->fields) {
            fields[count++] = {field.name, reply->copy(field.value)};
        }
        out = EntryReader().read(entry.id, fields, count, reply.get());
    }
    result->bytes = std::move(reply);
}

RedisResult ensure_group(World* world) {
    RedisResult result;
    const SimRedis::GroupMade made =
        world->redis.make_group(GroupName::kLoaders, false, world->plan.scripts_may_fill);
    if (made == SimRedis::GroupMade::kNoMemory) {
        return failure(RedisStatus::kRefused);
    }
    result.group_made = made == SimRedis::GroupMade::kMade;
    return result;
}

RedisResult read(World* world, unsigned consumer, const RedisAction& action) {
    RedisResult result;
    if (!world->redis.group(GroupName::kLoaders).exists) {
        return failure(RedisStatus::kNoGroup);
    }
    if (action.step == RedisStep::kReadOwn) {
        answer_entries(world->redis.read_own(consumer, action.from, action.count, world->now_us),
                       &result);
    } else if (action.step == RedisStep::kReadNew) {
        answer_entries(
            world->redis.read_new(GroupName::kLoaders, consumer, action.count, world->now_us),
            &result);
    } else {
        const SimRedis::Claimed claimed = world->redis.claim(
            consumer, world->plan.claim_idle_us, action.from, action.count, world->now_us);
        answer_entries(claimed.entries, &result);
        result.cursor = claimed.cursor;
        result.gone = claimed.gone;
    }
    return result;
}

RedisResult inspect_groups(const SimRedis& redis) {
    RedisResult result;
    if (!redis.exists()) {
        return failure(RedisStatus::kRefused);
    }
    for (size_t i = 0; i < kGroupCount; ++i) {
        const Group& group = redis.group(static_cast<GroupName>(i));
        if (group.exists) {
            GroupPosition position;
            position.name = std::string(kGroupNames[i]);
            position.last_delivered = group.last_delivered;
            position.pending = group.pending.size();
            result.groups.push_back(std::move(position));
        }
    }
    return result;
}

RedisResult measure(const SimRedis& redis) {
    RedisResult result = inspect_groups(redis);
    result.stream.entries = redis.entries().size();
    result.stream.added = redis.added();
    result.stream.last_generated = redis.last_id();
    result.kept = redis.kept();
    result.stream.kept = result.kept.entries;
    result.memory = redis.memory();
    return result;
}

RedisResult look(const SimRedis& redis, const RedisAction& action) {
    RedisResult result;
    for (const StreamId& place : action.places) {
        RedisResult found;
        answer_entries(redis.range(place, action.count), &found);
        EntrySample& sample = result.samples.emplace_back();
        for (const Entry& entry : found.entries) {
            sample.add(entry);
        }
    }
    return result;
}

RedisResult inspect_pending(const SimRedis& redis, const std::string& name) {
    RedisResult result;
    const auto* const found = std::find(kGroupNames, kGroupNames + kGroupCount, name);
    const Group& group = redis.group(static_cast<GroupName>(found - kGroupNames));
    if (!group.exists) {
        return failure(RedisStatus::kNoGroup);
    }
    result.has_pending = !group.pending.empty();
    if (result.has_pending) {
        result.first_pending = group.pending.front().id;
    }
    return result;
}

RedisResult inspect_oldest(const SimRedis& redis) {
    RedisResult result;
    answer_entries(redis.range({}, 1), &result);
    return result;
}

}  // namespace

RedisResult perform_redis(World* world, unsigned consumer, const RedisAction& action) {
    SimRedis& redis = world->redis;
    RedisResult result;
    switch (action.step) {
        case RedisStep::kEnsureGroup:
            return ensure_group(world);
        case RedisStep::kReadOwn:
        case RedisStep::kClaim:
        case RedisStep::kReadNew:
            return read(world, consumer, action);
        case RedisStep::kAck:
            redis.acknowledge(GroupName::kLoaders, action.ids);
            return result;
        case RedisStep::kInspectGroups:
            return inspect_groups(redis);
        case RedisStep::kInspectPending:
            return inspect_pending(redis, action.group);
        case RedisStep::kTrim:
            result.trimmed = redis.trim(action.from, action.keep, 1 + world->chance.below(3));
            return result;
        case RedisStep::kInspectOldest:
            return inspect_oldest(redis);
        case RedisStep::kMeasure:
            return measure(redis);
        case RedisStep::kLook:
            return look(redis, action);
        case RedisStep::kPublish:
            if (redis.full()) {
                return failure(RedisStatus::kRefused);
            }
            if (action.state.backlog_known) {
                const TailKept& kept = action.state.kept;
                redis.keep_told({kept.entries, kept.entry_bytes != 0 ? kept.entry_bytes
                                                                     : redis.kept().entry_bytes});
            }
            return result;
        default:
            violated("a step that the simulated Redis does not know: %s", text_of(action).c_str());
    }
}

}  // namespace sluice::sim
