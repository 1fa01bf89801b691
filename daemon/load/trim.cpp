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
                bound_ = std::min(bound_, result.first_pending);
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
    group_missing_ = false;
    for (const std::string& name : groups_) {
        const auto position =
            std::find_if(positions.begin(), positions.end(),
                         [&](const GroupPosition& candidate) { return candidate.name == name; });
        if (position == positions.end()) {
            group_missing_ = true;
            drop();
            return;
        }
        bound_ = std::min(bound_, position->last_delivered.next());
    }
    group_ = 0;
    step_ = RedisStep::kInspectPending;
}

}  // namespace sluice
