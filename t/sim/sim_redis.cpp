#include "t/sim/sim_redis.hpp"

#include <algorithm>

namespace sluice::sim {
namespace {

// An XAUTOCLAIM looks at so many times as many pending entries as it may return.
constexpr size_t kClaimAttempts = 10;

template <typename Items>
auto lower_bound_id(Items& items, StreamId id) {
    return std::lower_bound(items.begin(), items.end(), id,
                            [](const auto& item, const StreamId& key) { return item.id < key; });
}

}  // namespace

std::optional<StreamId> SimRedis::add(std::shared_ptr<const EntryBody> body) {
    if (full()) {
        return std::nullopt;
    }
    state_.exists = true;
    state_.last_id = std::max({state_.last_id.next(), StreamId{clock_ms_, 0}, id_floor_});
    state_.entries.push_back({state_.last_id, state_.added++ / node_entries_, std::move(body), 0});
    return state_.last_id;
}

SimRedis::GroupMade SimRedis::make_group(GroupName name, bool at_end, bool even_if_full) {
    if (full() && !even_if_full) {
        return GroupMade::kNoMemory;  // refused before Redis looks whether the group exists
    }
    state_.exists = true;
    Group& group = state_.groups[index(name)];
    if (group.exists) {
        return GroupMade::kExists;
    }
    group.exists = true;
    if (at_end) {
        group.last_delivered = state_.last_id;
        for (StreamEntry& entry : state_.entries) {
            entry.done_by |= static_cast<uint8_t>(1U << index(name));
        }
    }
    return GroupMade::kMade;
}

bool SimRedis::has_new(GroupName name) const {
    const Group& group = state_.groups[index(name)];
    return !state_.entries.empty() && group.last_delivered < state_.entries.back().id;
}

void SimRedis::deliver(Group* group, StreamId id, unsigned consumer, int64_t now_us) {
    const auto at = lower_bound_id(group->pending, id);
    if (at != group->pending.end() && at->id == id) {
        *at = {id, consumer, now_us};
    } else {
        group->pending.insert(at, {id, consumer, now_us});
    }
}

std::vector<SimRedis::Delivered> SimRedis::read_new(GroupName name, unsigned consumer, size_t count,
                                                    int64_t now_us) {
    Group& group = state_.groups[index(name)];
    std::vector<Delivered> delivered;
    auto entry = lower_bound_id(state_.entries, group.last_delivered.next());
    for (; entry != state_.entries.end() && delivered.size() < count; ++entry) {
        deliver(&group, entry->id, consumer, now_us);
        group.last_delivered = entry->id;
        delivered.push_back({entry->id, entry->body});
    }
    return delivered;
}

std::vector<SimRedis::Delivered> SimRedis::read_own(unsigned consumer, StreamId after, size_t count,
                                                    int64_t now_us) {
    Group& group = state_.groups[index(GroupName::kLoaders)];
    std::vector<Delivered> delivered;
    for (Pending& pending : group.pending) {
        if (delivered.size() == count) {
            break;
        }
        if (pending.consumer != consumer || !(after < pending.id)) {
            continue;
        }
        const StreamEntry* entry = find(pending.id);
        delivered.push_back({pending.id, entry != nullptr ? entry->body : nullptr});
        pending.delivered_us = now_us;
    }
    return delivered;
}

SimRedis::Claimed SimRedis::claim(unsigned consumer, int64_t idle_us, StreamId cursor, size_t count,
                                  int64_t now_us) {
    std::vector<Pending>& pending = state_.groups[index(GroupName::kLoaders)].pending;
    Claimed claimed;
    auto at = lower_bound_id(pending, cursor);
    for (size_t left = count * kClaimAttempts; left > 0 && count > 0 && at != pending.end();
         --left) {
        const StreamEntry* entry = find(at->id);
        if (entry == nullptr) {
            at = pending.erase(at);
            ++claimed.gone;
            --count;
            continue;
        }
        if (now_us - at->delivered_us >= idle_us) {
            *at = {at->id, consumer, now_us};
            claimed.entries.push_back({at->id, entry->body});
            --count;
        }
        ++at;
    }
    claimed.cursor = at != pending.end() ? at->id : StreamId{};
    return claimed;
}

void SimRedis::acknowledge(GroupName name, const std::vector<StreamId>& ids) {
    std::vector<Pending>& pending = state_.groups[index(name)].pending;
    for (const StreamId& id : ids) {
        const auto at = lower_bound_id(pending, id);
        if (at == pending.end() || at->id != id) {
            continue;
        }
        pending.erase(at);
        const auto entry = lower_bound_id(state_.entries, id);
        const bool found = entry != state_.entries.end() && entry->id == id;
        if (found) {
            entry->done_by |= static_cast<uint8_t>(1U << index(name));
        }
        if (name == GroupName::kLoaders) {
            watch_->entry_acknowledged(id, found ? &*entry : nullptr);
        }
    }
}

size_t SimRedis::first_node_below(StreamId below, uint64_t keep) const {
    size_t count = 0;
    const std::vector<StreamEntry>& entries = state_.entries;
    while (count < entries.size() && entries[count].node == entries.front().node) {
        if (!(entries[count].id < below)) {
            return 0;
        }
        ++count;
    }
    return entries.size() - count >= keep ? count : 0;
}

bool SimRedis::can_trim(StreamId below, uint64_t keep) const {
    return first_node_below(below, keep) != 0;
}

// In parts of what an entry takes; what there is besides takes as much as one.
RedisMemory SimRedis::memory() const noexcept {
    constexpr uint64_t kEntryBytes = 1000;
    const bool limited = entries_max_ != SIZE_MAX;
    return {(state_.entries.size() + 1) * kEntryBytes,
            limited ? (entries_max_ + 1) * kEntryBytes : 0};
}

uint64_t SimRedis::trim(StreamId below, uint64_t keep, uint64_t nodes_max) {
    uint64_t trimmed = 0;
    for (uint64_t node = 0; node < nodes_max; ++node) {
        const size_t count = first_node_below(below, keep);
        for (size_t i = 0; i < count; ++i) {
            watch_->entry_trimmed(state_.entries[i]);
        }
        remove_oldest(count);
        trimmed += count;
    }
    return trimmed;
}

std::vector<SimRedis::Delivered> SimRedis::range(StreamId from, size_t count) const {
    std::vector<Delivered> found;
    for (auto at = lower_bound_id(state_.entries, from);
         at != state_.entries.end() && found.size() < count; ++at) {
        found.push_back({at->id, at->body});
    }
    return found;
}

void SimRedis::remove_stream() {
    state_ = State{};
}

void SimRedis::remove_oldest(size_t count) {
    state_.entries.erase(state_.entries.begin(),
                         state_.entries.begin() + static_cast<ptrdiff_t>(count));
}

const StreamEntry* SimRedis::find(StreamId id) const {
    const auto at = lower_bound_id(state_.entries, id);
    return at != state_.entries.end() && at->id == id ? &*at : nullptr;
}

}  // namespace sluice::sim
