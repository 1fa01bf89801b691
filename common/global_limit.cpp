#include "common/global_limit.hpp"

#include <algorithm>

namespace sluice {

namespace {

// The rate divided by the edges; at once as much as may be untold.
GcraLimit share(const GcraLimit& limit, const Edges& edges) {
    const uint64_t at_once_ns = std::min(GlobalLimit::untold_max_ns(limit, edges.alive),
                                         limit.burst_ns() + limit.delay_ns());
    return limit.share(edges.alive, edges.alive * at_once_ns);
}

}  // namespace

uint64_t GlobalLimit::untold_max_ns(const GcraLimit& limit, uint64_t edges) noexcept {
    return std::min(
        std::max((limit.burst_ns() + limit.delay_ns()) / edges + kSlackNs, limit.cost_ns(1)),
        HotKeys::kUntoldMaxNs);
}

uint64_t GlobalLimit::owed_max_ns(const GcraLimit& limit, uint64_t edges) noexcept {
    return 2 * (limit.burst_ns() + limit.delay_ns() + edges * untold_max_ns(limit, edges));
}

uint64_t GlobalLimit::largest(const GcraLimit& limit, const Edges& edges) noexcept {
    return share(limit, edges).largest();
}

// Too much at once for so many edges is not too much for ever: one that was started anew counts
// twice until it is forgotten, and others may come back.
Judgement GlobalLimit::too_large_for_now(const GcraLimit& limit, uint64_t n) noexcept {
    const bool ever = limit.cost_ns(n) <= limit.burst_ns() + limit.delay_ns();
    return ever ? Judgement{Verdict::kRefuse, kForgottenNs} : Judgement{Verdict::kNever};
}

LimitAnswer GlobalLimit::check(uint64_t key, const GcraLimit& limit, uint64_t now_ns, uint64_t n,
                               const Edges& edges) const noexcept {
    if (!edges.heard) {
        LimitAnswer answer = table_.check(key, share(limit, edges), now_ns, n);
        if (answer.judgement.verdict == Verdict::kNever) {
            answer.judgement = too_large_for_now(limit, n);
        }
        return answer;
    }
    LimitAnswer answer = table_.check(key, limit, now_ns, n);
    const uint64_t most = untold_max_ns(limit, edges.alive);
    const uint64_t cost = limit.cost_ns(n);
    if (cost > most) {
        answer.judgement = too_large_for_now(limit, n);
    } else if (answer.judgement.admitted() && hot_.untold_ns(key) + cost > most) {
        answer.judgement = {Verdict::kRefuse, kIntervalNs};
    }
    return answer;
}

LimitAnswer GlobalLimit::charge(uint64_t key, uint64_t name, const GcraLimit& limit,
                                uint64_t now_ns, uint64_t n, WhenFull when_full,
                                const Edges& edges) noexcept {
    LimitAnswer answer = check(key, limit, now_ns, n, edges);
    if (!answer.judgement.admitted()) {
        return answer;
    }
    if (!edges.heard) {
        return table_.charge(key, share(limit, edges), now_ns, n, when_full);
    }
    const uint64_t most = untold_max_ns(limit, edges.alive);
    const uint64_t cost = limit.cost_ns(n);
    HotKeys::Added added = hot_.add(key, cost, most);
    if (added == HotKeys::Added::kAbsent && name != 0) {
        added = hot_.insert(key, name, cost, most);
    }
    switch (added) {
        case HotKeys::Added::kYes:
            break;
        case HotKeys::Added::kBeyond:
            answer.judgement = {Verdict::kRefuse, kIntervalNs};
            return answer;
        default:
            return table_.charge(key, share(limit, edges), now_ns, n, when_full);
    }
    answer = table_.charge(key, limit, now_ns, n, when_full);
    if (!answer.judgement.admitted()) {
        hot_.take_off(key, cost);
    }
    return answer;
}

void GlobalLimit::give_back(uint64_t key, const GcraLimit& limit, uint64_t charged_tat,
                            uint64_t now_ns, uint64_t n) noexcept {
    table_.give_back(key, limit, charged_tat, now_ns, n);
    hot_.take_off(key, limit.cost_ns(n));
}

size_t GlobalTeller::next() noexcept {
    keys_count_ = 0;
    for (; slot_ < hot_.slots() && keys_count_ < kKeysMax; slot_++) {
        if (!hot_.waits(slot_)) {
            rounds_[slot_] = 0;
            continue;
        }
        const bool waited = ++rounds_[slot_] >= kRoundsMax;
        Key& key = keys_[keys_count_];
        if (hot_.take(slot_, waited ? 0 : kLittleNs, &key.tell)) {
            key.slot = slot_;
            keys_count_++;
            rounds_[slot_] = 0;
        }
    }
    return keys_count_;
}

void GlobalTeller::learned(size_t i, uint64_t debt_us, uint64_t now_ns) noexcept {
    const uint64_t debt_ns = debt_us * HotKeys::kGrainNs + hot_.told(keys_[i].slot);
    if (debt_ns > GlobalLimit::kSlackNs) {
        table_.raise(keys_[i].tell.key, now_ns, now_ns + debt_ns - GlobalLimit::kSlackNs,
                     when_full_);
    }
}

void GlobalTeller::done() noexcept {
    for (size_t i = 0; i < keys_count_; i++) {
        (void)hot_.told(keys_[i].slot);
    }
    keys_count_ = 0;
}

}  // namespace sluice
