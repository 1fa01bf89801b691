// Redis, as far as the loader can tell: one stream with its groups, as Redis 7 keeps them. Commands
// are atomic; connections, delays and lost replies are the loader's shell's (sim_loader).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "daemon/load/tail_window.hpp"
#include "daemon/stream_id.hpp"
#include "t/sim/sim_edge.hpp"

namespace sluice::sim {

// The loader's own group; another one that trimming must wait for; one that it need not.
enum class GroupName : uint8_t { kLoaders, kArchive, kTail };
inline constexpr std::string_view kGroupNames[] = {"log_workers", "archive", "tail"};
inline constexpr size_t kGroupCount = sizeof(kGroupNames) / sizeof(kGroupNames[0]);

struct StreamEntry {
    StreamId id;
    uint64_t node = 0;  // entries of one node are trimmed together or not at all
    std::shared_ptr<const EntryBody> body;
    uint8_t done_by = 0;  // a bit for each group that acknowledged it or was made behind it
};

struct Pending {
    StreamId id;
    unsigned consumer = 0;
    int64_t delivered_us = 0;
};

struct Group {
    bool exists = false;
    StreamId last_delivered;
    std::vector<Pending> pending;  // in the order of ids
};

// Told of what cannot be undone.
class StreamWatch {
  public:
    virtual ~StreamWatch() = default;
    // Acknowledged by the loaders' group; null if the entry no longer exists.
    virtual void entry_acknowledged(const StreamId& id, const StreamEntry* entry) = 0;
    virtual void entry_trimmed(const StreamEntry& entry) = 0;
};

class SimRedis {
  public:
    enum class GroupMade : uint8_t { kMade, kExists, kNoMemory };
    // A pending entry that no longer exists has no body.
    struct Delivered {
        StreamId id;
        std::shared_ptr<const EntryBody> body;
    };
    struct Claimed {
        StreamId cursor;
        std::vector<Delivered> entries;
        uint64_t gone = 0;
    };

    SimRedis(StreamWatch* watch, uint64_t node_entries)
        : watch_(watch), node_entries_(node_entries) {}

    // Commands.
    std::optional<StreamId> add(std::shared_ptr<const EntryBody> body);  // nothing: no memory
    GroupMade make_group(GroupName name, bool at_end, bool even_if_full);
    [[nodiscard]] bool has_new(GroupName name) const;
    std::vector<Delivered> read_new(GroupName name, unsigned consumer, size_t count,
                                    int64_t now_us);
    std::vector<Delivered> read_own(unsigned consumer, StreamId after, size_t count,
                                    int64_t now_us);
    Claimed claim(unsigned consumer, int64_t idle_us, StreamId cursor, size_t count,
                  int64_t now_us);
    void acknowledge(GroupName name, const std::vector<StreamId>& ids);
    uint64_t trim(StreamId below, uint64_t keep, uint64_t nodes_max);
    [[nodiscard]] std::vector<Delivered> range(StreamId from, size_t count) const;
    [[nodiscard]] const Group& group(GroupName name) const { return state_.groups[index(name)]; }
    [[nodiscard]] bool exists() const noexcept { return state_.exists; }
    [[nodiscard]] bool full() const noexcept { return state_.entries.size() >= entries_max_; }
    void keep_told(TailKept kept) noexcept { state_.kept = kept; }
    [[nodiscard]] TailKept kept() const noexcept { return state_.kept; }
    [[nodiscard]] RedisMemory memory() const noexcept;

    // What happens to it.
    void remove_stream();
    void remove_group(GroupName name) { state_.groups[index(name)] = Group{}; }
    void remove_oldest(size_t count);  // by somebody's hand
    void keep_snapshot() { snapshot_ = state_; }
    void fall_back() { state_ = snapshot_; }
    void set_entries_max(size_t entries_max) noexcept { entries_max_ = entries_max; }
    // Ids below this one are not issued, whatever the clock says.
    void set_id_floor(StreamId floor) noexcept { id_floor_ = floor; }
    [[nodiscard]] StreamId id_floor() const noexcept { return id_floor_; }
    void set_clock_ms(uint64_t clock_ms) noexcept { clock_ms_ = clock_ms; }

    // For judging.
    [[nodiscard]] const std::vector<StreamEntry>& entries() const noexcept {
        return state_.entries;
    }
    [[nodiscard]] StreamId last_id() const noexcept { return state_.last_id; }
    [[nodiscard]] uint64_t added() const noexcept { return state_.added; }
    [[nodiscard]] const StreamEntry* find(StreamId id) const;
    [[nodiscard]] bool can_trim(StreamId below, uint64_t keep) const;

  private:
    struct State {
        bool exists = false;
        StreamId last_id;
        uint64_t added = 0;
        std::vector<StreamEntry> entries;  // in the order of ids
        Group groups[kGroupCount];
        TailKept kept;
    };

    static constexpr size_t index(GroupName name) noexcept { return static_cast<size_t>(name); }
    // How many entries the first node holds if all of them lie below this id, and so many are left;
    // else 0.
    [[nodiscard]] size_t first_node_below(StreamId below, uint64_t keep) const;
    static void deliver(Group* group, StreamId id, unsigned consumer, int64_t now_us);

    StreamWatch* watch_;
    uint64_t node_entries_;
    uint64_t clock_ms_ = 0;
    StreamId id_floor_;
    size_t entries_max_ = SIZE_MAX;
    State state_;
    State snapshot_;
};

}  // namespace sluice::sim
