#include "daemon/load/trim.hpp"

#include <algorithm>

namespace sluice {

RedisAction TrimRound::next() const {
    RedisAction action;
    action.step = step_;
    if (step_ == RedisStep::kInspectPending) {
        action.group = groups_[group_];
    } else if (step_ == RedisStep::kTrim) {
        action.from = bound_;
    }
    return action;
}

void TrimRound::done(const RedisAction& action, const RedisResult& result) {
    if (!running()) {
        return;
    }
    if (result.status != RedisStatus::kOk) {
        drop();
        return;
    }
    switch (action.step) {
        case RedisStep::kInspectGroups:
            groups_inspected(result.groups);
            break;
        case RedisStep::kInspectPending:
            if (result.has_pending) {
                lower_bound(group_, result.first_pending);
            }
            if (++group_ == groups_.size()) {
                step_ = RedisStep::kTrim;
            }
            break;
        default:
            // Trimming approximately stops after a limited number of entries a call: done only
            // when a call found nothing more.
            if (result.trimmed == 0) {
                drop();
            }
    }
}

void TrimRound::groups_inspected(const std::vector<GroupPosition>& positions) {
    bound_ = kStreamIdMax;
    own_bound_ = kStreamIdMax;
    group_missing_ = false;
    for (size_t group = 0; group < groups_.size(); ++group) {
        const std::string& name = groups_[group];
        const auto position =
            std::find_if(positions.begin(), positions.end(),
                         [&](const GroupPosition& candidate) { return candidate.name == name; });
        if (position == positions.end()) {
            group_missing_ = true;
            drop();
            return;
        }
        lower_bound(group, position->last_delivered.next());
    }
    group_ = 0;
    step_ = RedisStep::kInspectPending;
}

void TrimRound::lower_bound(size_t group, const StreamId& bound) {
    if (bound < bound_) {
        bound_ = bound;
        slowest_ = group;
    }
    if (group + 1 == groups_.size()) {
        own_bound_ = std::min(own_bound_, bound);
    }
}

}  // namespace sluice
