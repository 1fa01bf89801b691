// How far the stream may be trimmed, found out in steps. Nobody else trims.
//
// The bound is the smallest, over all configured groups, of the first pending id and the id behind
// the last delivered one. The order of the questions is what makes it safe: first every group's
// last delivered id (XINFO GROUPS), then each group's first pending id (XPENDING).
//   - An entry delivered between the two lies above the last delivered id we hold: not trimmed.
//   - An entry acknowledged between the two is done with: it may go.
// The other way round, an entry delivered between the two would be missing among the pending ones
// and lie below the last delivered id: trimmed before anybody stored it.
// A bound that has grown old is only lower than it could be, so other commands, and other loaders
// that trim, may come in between. It must not outlive the connection, though: behind a failover
// Redis may issue smaller ids again, so the round is dropped with the connection.
// What it does not survive is somebody who destroys a group and makes it again at the beginning
// just between the two questions: what was pending in it is gone from both answers. A configured
// group that does not exist has seen nothing yet: no trimming at all. What is kept of the entries
// below the bound is a matter of taste: it only makes the trim stop earlier.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/load/actions.hpp"

namespace sluice {

class TrimRound {
  public:
    explicit TrimRound(std::vector<std::string> groups) : groups_(std::move(groups)) {}

    void start() noexcept { step_ = RedisStep::kInspectGroups; }
    void drop() noexcept { step_ = RedisStep::kWait; }
    [[nodiscard]] bool running() const noexcept { return step_ != RedisStep::kWait; }

    [[nodiscard]] RedisAction next() const;
    void done(const RedisAction& action, const RedisResult& result);

    // Whether the last round was dropped because a configured group does not exist.
    [[nodiscard]] bool group_missing() const noexcept { return group_missing_; }

    // Once it trims: the group that has come the least far, up to where all groups have, and up to
    // where the last of them has, which is the loader's own.
    [[nodiscard]] const std::string& slowest() const noexcept { return groups_[slowest_]; }
    [[nodiscard]] StreamId bound() const noexcept { return bound_; }
    [[nodiscard]] StreamId own_bound() const noexcept { return own_bound_; }

  private:
    void groups_inspected(const std::vector<GroupPosition>& positions);
    void lower_bound(size_t group, const StreamId& bound);

    std::vector<std::string> groups_;
    RedisStep step_ = RedisStep::kWait;
    size_t group_ = 0;  // the one to ask next for its pending ids
    size_t slowest_ = 0;
    StreamId bound_;
    StreamId own_bound_;
    bool group_missing_ = false;
};

}  // namespace sluice
